"""What a training run is, as data: where its clips come from, which network, and its stages in order.

Source of the stage order: Crab (arXiv 2503.13068, section 4.1): visual and audio pre-training of the projectors, then
joint fine-tuning with interaction-aware LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crab_core.tasks.wording import PROFILES, TRAIN
from crab_core.train.lessons import TAUGHT
from crab_core.world.moments import MOMENT_TASKS, TASKS_WITH_MASKS
from crab_core.world.questions import TEXT_TASKS

StageKind = Literal["visual", "audio", "masks", "language"]
OptimizerName = Literal["adamw", "muon", "adamw8bit", "paged-adamw8bit"]
PrecisionName = Literal["fp32", "bf16", "fp16"]
QuantizeName = Literal["none", "4bit", "8bit"]
PARTS = ("visual_encoder", "audio_encoder", "vl_projector", "al_projector", "tags", "llm", "tables", "ilora", "masks")
WORLD_TASKS = (*TEXT_TASKS, *MOMENT_TASKS)  # what the generated world can teach
TASK_NAMES = tuple(dict.fromkeys((*WORLD_TASKS, *TAUGHT)))
WORLD_MIXTURE: Mapping[str, float] = {"avqa": 4.0, "ave": 1.0, "avvp": 1.0, "avcap": 0.5}
OF_LANGUAGE = ("lookup_weight", "change_weight", "recall_weight", "sketch_weight")
TAKEN = ("model", "cache", "checkpoints", "tokenizer")  # what else lies in the folder of a run, beside the stages


@dataclass(frozen=True, slots=True)
class WorldData:
    """Clips of the generated world: `clips` to learn from; `processes` render them."""

    clips: int = 12_000
    seed: int = 0
    short_share: float = 0.15
    processes: int = 2

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise ValueError(f"clips must be at least 1, got {self.clips}")
        if not 0 <= self.short_share < 1:
            raise ValueError(f"short_share must be at least 0 and below 1, got {self.short_share}")
        if self.seed < 0 or self.processes < 0:
            raise ValueError(f"seed and processes must not be negative, got {self.seed, self.processes}")


@dataclass(frozen=True, slots=True)
class FileData:
    """Annotated clips: `files` of our own lines (docs/data.md), and by task `av_uie` files of AV-UIE.

    Media are looked for under `root`, each file's own folder if it is None. `workers` decode ahead. More than the share
    `most_skipped` of clips that cannot be used end the run.
    """

    files: tuple[Path, ...] = ()
    av_uie: Mapping[str, Path] = field(default_factory=dict)
    root: Path | None = None
    split: str = ""
    workers: int = 2
    cache: Path | None = None
    most_skipped: float = 0.1

    def __post_init__(self) -> None:
        if not self.files and not self.av_uie:
            raise ValueError("name at least one of files, or of av_uie by task")
        unknown = [task for task in self.av_uie if task not in TAUGHT]
        if unknown:
            raise ValueError(f"av_uie: no task is called '{unknown[0]}', there are {', '.join(TAUGHT)}")
        if self.workers < 0 or not 0 <= self.most_skipped <= 1:
            raise ValueError(
                f"workers must be 0 or more and most_skipped from 0 to 1, got {self.workers, self.most_skipped}"
            )


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is learnt (`kind`), by which parts of the network (`train`), for how many steps and how fast.

    `visual` and `audio` teach an encoder and its projector dense labels of frames and seconds, `masks` teaches the
    mask decoder to draw from sketches; `language` teaches text: `tasks` weighs the tasks, `templates` their kinds of
    questions or expressions (1 if not named), `samples` texts share one clip, `reasoning` is the share of questions
    with explicit reasoning, and each token of a short answer, or of a number, place or level, counts `answer_weight`
    times. `ilora` adds the adapter (heads, rank, alpha, dropout) before the stage begins; `match_heads` puts the
    heads of all layers under one number when it ends. `places` lets a visual stage also teach each query which cell
    it reads. `until` ends a stage before its schedule of `steps` does. With a `lookup_weight` every name of a class
    in a text, and `lookups` names on their own, must hold what is true of it when `lookup_layer` layers have read
    it, and with a `recall_weight` a state behind `recall_layer` layers must hold it where a number, place or level of
    the last name is told next. `deepen` puts so many new layers into the LLM before the stage begins, above the first
    `deepen_above` of its own; `change_weight` is what the relative change of a state by the first `lookup_layer`
    layers costs. With a `sketch_weight` the states of mask tokens must tell a sketch of the mask, from which the
    decoder draws behind a stage where it does not learn itself. With `stills` a step has that many rows about single
    pictures beside `batch` rows about whole clips, else the tasks' weights say which of the rows are. `accumulate` is
    in how many pieces a batch is computed. From files, `group_lengths` puts rows of about the same length into one
    batch.
    """

    name: str
    kind: StageKind
    steps: int
    batch: int = 16
    rate: float = 1e-3
    optimizer: OptimizerName = "adamw"
    matrix_rate: float = 0.02
    warmup: int = 100
    weight_decay: float = 0.02
    train: tuple[str, ...] = ()
    samples: int = 6
    tasks: Mapping[str, float] = field(default_factory=dict)
    templates: Mapping[str, float] = field(default_factory=dict)
    reasoning: float = 0.7
    reading: float = 0.0
    answer_weight: float = 1.0
    mask_weight: float = 1.0
    sketch_weight: float = 0.0
    lookup_weight: float = 0.0
    lookup_layer: int = 2
    lookups: int = 12
    change_weight: float = 0.0
    recall_weight: float = 0.0
    recall_layer: int = 4
    deepen: int = 0
    deepen_above: int = 0
    ilora: Mapping[str, Any] | None = None
    places: bool = False
    until: int | None = None
    save_every: int = 500
    accumulate: int = 1
    group_lengths: bool = True
    stills: int = 0
    match_heads: bool = False

    def __post_init__(self) -> None:
        mistakes = [*self._wrong_names(), *self._wrong_numbers(), *self._ignored()]
        if mistakes:
            raise ValueError("; ".join(mistakes))

    @property
    def mixture(self) -> Mapping[str, float]:
        """The weights of the tasks of the generated world."""
        return self.tasks or WORLD_MIXTURE

    def _wrong_names(self) -> Iterator[str]:
        if not re.fullmatch(r"(?!step-)\w[\w-]*", self.name) or self.name in TAKEN:
            yield f"name: a folder is called like the stage, which '{self.name}' cannot be"
        yield from (f"train: no part is called '{part}'" for part in self.train if part not in PARTS)
        if not self.train:
            yield f"train: name at least one part that learns, of {', '.join(PARTS)}"
        yield from (f"tasks: no task is called '{task}'" for task in self.tasks if task not in TASK_NAMES)
        if self.templates:
            from crab_core.world.moments import EXPRESSIONS
            from crab_core.world.questions import ASKS

            known = (*ASKS, *EXPRESSIONS)
            yield from (f"templates: no question is called '{one}'" for one in self.templates if one not in known)
        if self.ilora is not None:
            from crab_core.nn.crab_config import ILoraConfig

            try:
                ILoraConfig(**self.ilora)
            except (TypeError, ValueError) as err:
                yield f"ilora: {err}"

    def _wrong_numbers(self) -> Iterator[str]:
        for name in ("steps", "batch", "samples", "save_every", "accumulate", "lookup_layer", "recall_layer"):
            if getattr(self, name) < 1:
                yield f"{name}: must be at least 1, got {getattr(self, name)}"
        for name in ("warmup", "weight_decay", "stills", "lookups", "deepen", "deepen_above", *OF_LANGUAGE):
            if not 0 <= getattr(self, name) < float("inf"):
                yield f"{name}: must be 0 or more, got {getattr(self, name)}"
        if self.accumulate > self.batch:
            yield f"accumulate: a batch of {self.batch} has no {self.accumulate} pieces"
        if self.until is not None and not 1 <= self.until <= self.steps:
            yield f"until: must be between 1 and {self.steps}, got {self.until}"
        for name in ("rate", "matrix_rate", "answer_weight", "mask_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                yield f"{name}: must be above 0, got {getattr(self, name)}"
        for name in ("reasoning", "reading"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name}: must be between 0 and 1, got {getattr(self, name)}"
        if not all(0 <= weight < float("inf") for weight in self.templates.values()):
            yield f"templates: weights must be 0 or more, got {dict(self.templates)}"
        if not (all(weight >= 0 for weight in self.mixture.values()) and sum(self.mixture.values()) > 0):
            yield f"tasks: weights must be 0 or more, one of them above 0, got {dict(self.tasks)}"

    def _ignored(self) -> Iterator[str]:
        """Weights of what the stage does not teach."""
        if self.kind != "language":
            yield from (f"{name}: is for language stages" for name in OF_LANGUAGE if getattr(self, name))
        if not self.lookup_weight:
            if self.change_weight:
                yield "change_weight: holds what lookups teach, and lookup_weight is 0"
            if self.recall_weight:
                yield "recall_weight: recalls what lookups teach, and lookup_weight is 0"
        if self.sketch_weight and not any(self.mixture.get(task) for task in TASKS_WITH_MASKS):
            yield f"sketch_weight: none of the tasks has masks, which {', '.join(TASKS_WITH_MASKS)} have"
        if self.kind == "masks" and self.train != ("masks",):
            yield f"train: in a stage of the kind masks only 'masks' learns, got {', '.join(self.train)}"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A whole run: a new network by its config or the model to start from, the data and the stages in order.

    A new network learns from clips of the generated world, a model from annotated files. `precision`, `quantize`,
    `checkpointing`, `device` and `shard` (of the LLM's layers, over several processes) are of runs that start from a
    model.
    """

    name: str
    stages: tuple[Stage, ...]
    network: Mapping[str, Any] | None = None
    model: str = ""
    data: WorldData | FileData = field(default_factory=WorldData)
    vocabulary: int = 1000
    note: str = ""
    tasks: tuple[str, ...] = TEXT_TASKS
    profile: str = TRAIN
    seed: int = 0
    threads: int = 0
    keep: int = 1
    device: str = "auto"
    precision: PrecisionName = "fp32"
    quantize: QuantizeName = "none"
    checkpointing: bool = False
    shard: bool = False
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a run needs at least one stage")
        if (self.network is None) == (not self.model):
            raise ValueError("give either 'network', the numbers of a new one, or 'model', the folder to start from")
        if self.network is not None:
            self._check_world(self.network)
        else:
            self._check_files()
        if self.seed < 0 or self.threads < 0:
            raise ValueError(f"seed and threads must not be negative, got {self.seed, self.threads}")
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, got {self.keep}")
        if self.profile not in PROFILES:
            raise ValueError(f"profile: no wording is called '{self.profile}', there are {', '.join(PROFILES)}")
        unknown = [task for task in self.tasks if task not in TASK_NAMES]
        if unknown:
            raise ValueError(f"tasks: no task is called '{unknown[0]}', there are {', '.join(TASK_NAMES)}")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, got {names}")

    def _check_world(self, network: Mapping[str, Any]) -> None:
        from crab_core.nn.crab_config import CrabConfig

        llm = {"vocab_size": self.vocabulary, **network.get("llm", {})}
        CrabConfig.from_dict({**network, "llm": llm})  # its mistakes are told with the others
        if isinstance(self.data, FileData):
            raise ValueError("data: a new network learns from generated clips; name a 'model' to learn from files")
        if self.precision != "fp32" or self.quantize != "none" or self.checkpointing or self.shard:
            raise ValueError("precision, quantize, checkpointing and shard are for runs that start from a 'model'")
        self._check_layers(llm.get("num_hidden_layers"))
        self._check_sketches(has_decoder=network.get("mask") is not None)
        for stage in self.stages:
            unknown = [task for task in stage.tasks if task not in WORLD_TASKS]
            if unknown:
                raise ValueError(f"stage '{stage.name}': generated clips do not teach '{unknown[0]}'")
            if stage.optimizer in ("adamw8bit", "paged-adamw8bit"):
                raise ValueError(f"stage '{stage.name}': 8-bit optimizers are for runs that start from a 'model'")
            if stage.accumulate != 1 and {"visual_encoder", "audio_encoder"} & set(stage.train):
                raise ValueError(
                    f"stage '{stage.name}': an encoder's normalisation needs the whole batch, accumulate must be 1"
                )

    def _check_layers(self, layers: int | None) -> None:
        """Stages that put layers below an adapter, or that read behind layers which are not there."""
        adapted = False
        for stage in self.stages:
            if stage.deepen and layers is not None and stage.deepen_above > layers:
                raise ValueError(
                    f"stage '{stage.name}': deepen_above must be at most {layers}, the layers of the LLM before, "
                    f"got {stage.deepen_above}"
                )
            layers = None if layers is None else layers + stage.deepen
            adapted = adapted or stage.ilora is not None
            if stage.deepen and (adapted or stage.kind != "language"):
                raise ValueError(
                    f"stage '{stage.name}': an LLM with an I-LoRA gets no new layers: deepen is for language stages "
                    "before the first with ilora"
                )
            for name, weight in (("lookup_layer", stage.lookup_weight), ("recall_layer", stage.recall_weight)):
                if weight and layers is not None and getattr(stage, name) > layers:
                    raise ValueError(
                        f"stage '{stage.name}': {name} must be at most {layers}, the layers of the LLM, "
                        f"got {getattr(stage, name)}"
                    )

    def _check_sketches(self, *, has_decoder: bool) -> None:
        """Stages that teach masks to a network without a decoder, or sketches to a decoder that does not know them."""
        reads_sketches = False
        for stage in self.stages:
            draws = "masks" in stage.train
            if (draws or stage.sketch_weight) and not has_decoder:
                raise ValueError(
                    f"stage '{stage.name}': 'masks' in train and sketch_weight need a network with 'mask', the numbers "
                    "of a decoder"
                )
            if stage.sketch_weight and not draws and not reads_sketches:
                raise ValueError(
                    f"stage '{stage.name}': a sketch_weight without 'masks' in train is for a decoder that has just "
                    "learnt from sketches: put a stage of kind masks before it"
                )
            if stage.kind == "masks" or draws or stage.sketch_weight:
                reads_sketches = stage.kind == "masks"

    def _check_files(self) -> None:
        if not isinstance(self.data, FileData):
            raise ValueError("data: a 'model' learns from files: data: {files: [labels.jsonl]}")
        if self.shard and (self.quantize != "none" or self.precision == "fp16"):
            raise ValueError("shard: only weights that are not packed are shared out, in fp32 or bf16")
        for stage in self.stages:
            if stage.kind != "language":
                raise ValueError(f"stage '{stage.name}': from files only kind language learns, got {stage.kind}")
            if stage.reading or stage.places or stage.lookup_weight or stage.sketch_weight or stage.deepen:
                raise ValueError(
                    f"stage '{stage.name}': reading, places, lookup_weight, sketch_weight and deepen are of generated "
                    "clips"
                )
            if self.shard and stage.optimizer != "adamw":
                raise ValueError(f"stage '{stage.name}': a sharded model learns by adamw, not {stage.optimizer}")
            if self.quantize != "none" and "llm" in stage.train:
                raise ValueError(f"stage '{stage.name}': weights that are packed to {self.quantize} cannot learn")
