"""What a training run is, as data: where its clips come from, which network, and its stages in order.

Source of the stage order: Crab (arXiv 2503.13068, section 4.1): visual and audio pre-training of the projectors, then
joint fine-tuning with interaction-aware LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

StageKind = Literal["visual", "audio", "language"]
PARTS = ("visual_encoder", "audio_encoder", "vl_projector", "al_projector", "tags", "llm", "ilora")
TASK_NAMES = ("avqa", "ave", "avvp", "avcap")


@dataclass(frozen=True, slots=True)
class WorldData:
    """Clips of the generated world: `clips` to learn from, `validation_clips` to watch; `processes` render them."""

    clips: int = 12_000
    validation_clips: int = 400
    seed: int = 0
    short_share: float = 0.15
    processes: int = 2

    def __post_init__(self) -> None:
        if self.clips < 1 or self.validation_clips < 1:
            raise ValueError(f"clips and validation_clips must be at least 1, got {self.clips, self.validation_clips}")
        if not 0 <= self.short_share < 1:
            raise ValueError(f"short_share must be at least 0 and below 1, got {self.short_share}")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what is learnt (`kind`), by which parts of the network (`train`), for how many steps and how fast.

    `visual` and `audio` teach an encoder and its projector dense labels of frames and seconds; `language` teaches
    text: `tasks` weighs the tasks, `samples` texts share one clip, `reasoning` is the share of questions answered with
    explicit reasoning. `ilora` adds the adapter (heads, rank, alpha, dropout) before the stage begins. `places` lets a
    visual stage also teach each query which cell it reads. `until` ends a stage before its schedule of `steps` does.
    """

    name: str
    kind: StageKind
    steps: int
    batch: int = 16
    rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.02
    train: tuple[str, ...] = ()
    samples: int = 6
    tasks: Mapping[str, float] = field(default_factory=lambda: {"avqa": 4.0, "ave": 1.0, "avvp": 1.0, "avcap": 0.5})
    reasoning: float = 0.7
    ilora: Mapping[str, Any] | None = None
    places: bool = False
    until: int | None = None
    save_every: int = 500

    def __post_init__(self) -> None:
        mistakes = [f"train: no part is called '{part}'" for part in self.train if part not in PARTS]
        mistakes += [f"tasks: no task is called '{task}'" for task in self.tasks if task not in TASK_NAMES]
        for name in ("steps", "batch", "samples", "save_every"):
            if getattr(self, name) < 1:
                mistakes.append(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.until is not None and not 1 <= self.until <= self.steps:
            mistakes.append(f"until: must be between 1 and {self.steps}, got {self.until}")
        if self.rate <= 0:
            mistakes.append(f"rate: must be above 0, got {self.rate}")
        if not 0 <= self.reasoning <= 1:
            mistakes.append(f"reasoning: must be between 0 and 1, got {self.reasoning}")
        if mistakes:
            raise ValueError("; ".join(mistakes))


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A whole run: a network by its config, the data and the stages in order."""

    name: str
    network: Mapping[str, Any]
    stages: tuple[Stage, ...]
    data: WorldData = field(default_factory=WorldData)
    vocabulary: int = 1000
    note: str = ""
    tasks: tuple[str, ...] = TASK_NAMES
    seed: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        from crab_core.nn.crab_config import CrabConfig

        if not self.stages:
            raise ValueError("a run needs at least one stage")
        llm = {"vocab_size": self.vocabulary, **self.network.get("llm", {})}
        CrabConfig.from_dict({**self.network, "llm": llm})  # its mistakes are told with the others
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, got {names}")
