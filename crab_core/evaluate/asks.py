"""What is asked of a model about one annotated clip for a task, and the keys by which its answer is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crab_core.data.places import inside
from crab_core.data.sample import Expression, Frame, Question, Sample
from crab_core.errors import UsageError
from crab_core.tasks.matching import CANDIDATES

LABEL_TASKS = ("emotion", "action", "a2v", "v2a")  # one true word a clip
EVAL_TASKS = (
    "avqa", "ave", "avvp", "avcap", "arig", "ssl", "s4", "ms3", "avss", "ref-avs",
    "avqa-options", "unav", *LABEL_TASKS,
)  # fmt: skip
MATCHING = ("a2v", "v2a")
MASK_TASKS = ("s4", "ms3", "avss", "ref-avs")


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, clip, picture or expression with its truth; the fields that a task does not need are None."""

    sample: Sample
    root: Path
    asked: Question | None = None
    frame: Frame | None = None
    expression: Expression | None = None

    @property
    def question(self) -> str | None:
        """What is asked in words, None for a task that needs none."""
        return self.asked.question if self.asked else self.expression.text if self.expression else None

    def choices(self, task: str) -> tuple[str, ...]:
        """What is to be chosen from: the question's options, or the files that a task compares."""
        if task in MATCHING:
            return tuple(str(inside(self.root, name)) for name in self.sample.choices)
        return self.asked.options if self.asked and task == "avqa-options" else ()

    @property
    def time_s(self) -> float | None:
        """The moment that is asked about, None for the whole clip."""
        return self.frame.time_s if self.frame else self.expression.time_s if self.expression else None

    @property
    def own_id(self) -> str:
        """The question's or the expression's own id, "" if it has none."""
        return self.asked.id if self.asked else self.expression.id if self.expression else ""


def asks(task: str, sample: Sample, root: Path) -> Iterator[Ask]:
    """Everything that a sample's annotations let a task be asked; nothing if they do not."""
    if not sample.is_for(task):
        return
    if task == "avqa":
        yield from (Ask(sample, root, asked=one) for one in sample.questions or ())
    elif task == "avqa-options":
        yield from (Ask(sample, root, asked=one) for one in sample.questions or () if one.options)
    elif task in LABEL_TASKS:
        if task in (sample.labels or {}) and (task not in MATCHING or len(sample.choices) == CANDIDATES):
            yield Ask(sample, root)
    elif task in ("ave", "avvp", "unav"):
        if sample.events is not None and (task != "ave" or any(event.track == "both" for event in sample.events)):
            yield Ask(sample, root)
    elif task == "avcap":
        if sample.captions:
            yield Ask(sample, root)
    elif task == "ref-avs":
        yield from (Ask(sample, root, expression=one) for one in sample.expressions or ())
    else:
        key = {"arig": "boxes", "ssl": "boxes", "avss": "classes"}.get(task, "masks")
        frames = [one for one in sample.frames or () if not one.tasks or task in one.tasks]
        yield from (Ask(sample, root, frame=one) for one in frames if getattr(one, key) is not None)


def seconds_of(sample: Sample) -> int:
    """The clip's length in whole seconds, at least 1; raises UsageError if the line does not tell it."""
    if sample.seconds is None:
        raise UsageError(
            f"line {sample.line} ('{sample.id}') does not tell the clip's length",
            hint='Add "seconds": events are scored second by second.',
        )
    return max(1, round(sample.seconds))
