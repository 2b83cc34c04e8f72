"""What a training run is, as data: where its clips come from, which network, and its stages in order.

Source of the stage order: Crab (arXiv 2503.13068, section 4.1): visual and audio pre-training of the projectors, then
joint fine-tuning with interaction-aware LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from crab_core.tasks.wording import PROFILES
from crab_core.world.moments import MOMENT_TASKS
from crab_core.world.questions import TEXT_TASKS

StageKind = Literal["visual", "audio", "language"]
OptimizerName = Literal["adamw", "muon"]
PARTS = ("visual_encoder", "audio_encoder", "vl_projector", "al_projector", "tags", "llm", "tables", "ilora", "masks")
TASK_NAMES = (*TEXT_TASKS, *MOMENT_TASKS)  # what the generated world can teach
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
class Stage:
    """One stage: what is learnt (`kind`), by which parts of the network (`train`), for how many steps and how fast.

    `visual` and `audio` teach an encoder and its projector dense labels of frames and seconds; `language` teaches
    text: `tasks` weighs the tasks, `samples` texts share one clip, `reasoning` is the share of questions answered with
    explicit reasoning, and each token of a short answer counts `answer_weight` times. `ilora` adds the adapter (heads,
    rank, alpha, dropout) before the stage begins. `places` lets a visual stage also teach each query which cell it
    reads. `until` ends a stage before its schedule of `steps` does.
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
    tasks: Mapping[str, float] = field(default_factory=lambda: {"avqa": 4.0, "ave": 1.0, "avvp": 1.0, "avcap": 0.5})
    reasoning: float = 0.7
    reading: float = 0.0
    answer_weight: float = 1.0
    mask_weight: float = 1.0
    ilora: Mapping[str, Any] | None = None
    places: bool = False
    until: int | None = None
    save_every: int = 500

    def __post_init__(self) -> None:
        mistakes = [*self._wrong_names(), *self._wrong_numbers()]
        if mistakes:
            raise ValueError("; ".join(mistakes))

    def _wrong_names(self) -> Iterator[str]:
        if not re.fullmatch(r"(?!step-)\w[\w-]*", self.name) or self.name in TAKEN:
            yield f"name: a folder is called like the stage, which '{self.name}' cannot be"
        yield from (f"train: no part is called '{part}'" for part in self.train if part not in PARTS)
        if not self.train:
            yield f"train: name at least one part that learns, of {', '.join(PARTS)}"
        yield from (f"tasks: no task is called '{task}'" for task in self.tasks if task not in TASK_NAMES)
        if self.ilora is not None:
            from crab_core.nn.crab_config import ILoraConfig

            try:
                ILoraConfig(**self.ilora)
            except (TypeError, ValueError) as err:
                yield f"ilora: {err}"

    def _wrong_numbers(self) -> Iterator[str]:
        for name in ("steps", "batch", "samples", "save_every"):
            if getattr(self, name) < 1:
                yield f"{name}: must be at least 1, got {getattr(self, name)}"
        for name in ("warmup", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                yield f"{name}: must be 0 or more, got {getattr(self, name)}"
        if self.until is not None and not 1 <= self.until <= self.steps:
            yield f"until: must be between 1 and {self.steps}, got {self.until}"
        for name in ("rate", "matrix_rate", "answer_weight", "mask_weight"):
            if not 0 < getattr(self, name) < float("inf"):
                yield f"{name}: must be above 0, got {getattr(self, name)}"
        for name in ("reasoning", "reading"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"{name}: must be between 0 and 1, got {getattr(self, name)}"
        if not (all(weight >= 0 for weight in self.tasks.values()) and sum(self.tasks.values()) > 0):
            yield f"tasks: weights must be 0 or more, one of them above 0, got {dict(self.tasks)}"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A whole run: a network by its config, the data and the stages in order."""

    name: str
    network: Mapping[str, Any]
    stages: tuple[Stage, ...]
    data: WorldData = field(default_factory=WorldData)
    vocabulary: int = 1000
    note: str = ""
    tasks: tuple[str, ...] = TEXT_TASKS
    profile: str = "train"
    seed: int = 0
    threads: int = 0
    keep: int = 1

    def __post_init__(self) -> None:
        from crab_core.nn.crab_config import CrabConfig

        if not self.stages:
            raise ValueError("a run needs at least one stage")
        llm = {"vocab_size": self.vocabulary, **self.network.get("llm", {})}
        CrabConfig.from_dict({**self.network, "llm": llm})  # its mistakes are told with the others
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
