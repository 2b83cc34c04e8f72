"""What annotated clips teach: for each task the question, the text to write, and the mask that it tells.

Texts of the annotator (`targets`, a question's `target`) come first; else the tasks' own writers make them from events,
boxes, masks and captions, as they stand in the released data (Crab, arXiv 2503.13068, section 3.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crab_core.data.sample import Frame, MaskRef, Sample
from crab_core.tasks.grammar import write_answer, write_ave, write_avvp
from crab_core.tasks.sights import NOTHING, write_box, write_boxes, write_mask, write_referred
from crab_core.types import Box, Event, Track

MASK_TASKS = ("s4", "ms3", "ref-avs", "avss")
SEMANTIC_TASKS = ("avss",)  # whose masks tell the class of each pixel
TAUGHT = ("avqa", "ave", "avvp", "avcap", "arig", "ssl", *MASK_TASKS)  # by files


@dataclass(frozen=True, slots=True)
class Text:
    """One text to learn: what is asked (None for a task that asks nothing in words) and what to write.

    `label` is what a mask shows; the target of a mask is made when its picture's second is known. `masks` are the
    pixels meant, empty for an answer without a mask; `classes` is the picture of each pixel's class instead.
    """

    question: str | None
    target: str
    id: str
    label: str = ""
    masks: tuple[MaskRef, ...] = ()
    classes: str | None = None


@dataclass(frozen=True, slots=True)
class Lesson:
    """Texts that share what is seen and heard: a clip for a task, and for a picture's task its time."""

    root: Path
    file: str
    audio: str | None
    task: str
    time_s: float | None
    texts: tuple[Text, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of its texts."""
        return tuple(text.id for text in self.texts)

    @property
    def letters(self) -> int:
        """About how long its texts are."""
        return sum(len(text.question or "") + len(text.target) for text in self.texts)


def lessons_of(sample: Sample, root: Path, tasks: Sequence[str], canvas_px: int, most: int) -> Iterator[Lesson]:
    """The lessons of a clip for these tasks, each of at most `most` texts; boxes are told in `canvas_px`ths.

    Raises ValueError for boxes in a frame whose size the line does not tell.
    """
    for task in tasks:
        if not sample.is_for(task):
            continue
        for time_s, texts in _texts(sample, task, canvas_px):
            for start in range(0, len(texts), most):
                yield Lesson(root, sample.file, sample.audio, task, time_s, tuple(texts[start : start + most]))


def whole_target(text: Text, task: str, ordinal: str | None) -> str:
    """The text to write; of a mask with the second's name, where the prompt has one."""
    if task not in MASK_TASKS or text.target:
        return text.target
    if task == "ref-avs":
        return write_referred(text.question or "", text.label, ordinal)
    return write_mask(text.label, ordinal)


def _texts(sample: Sample, task: str, canvas_px: int) -> Iterator[tuple[float | None, list[Text]]]:
    own = (sample.targets or {}).get(task, "")
    if task == "avqa":
        yield (
            None,
            [
                Text(one.question, one.target or write_answer(one.answer), one.id or f"{sample.id} {number}")
                for number, one in enumerate(sample.questions or ())
            ],
        )
    elif task in ("ave", "avvp"):
        target = own or _told_events(sample, task)
        yield None, [Text(None, target, sample.id)] if target else []
    elif task == "avcap":
        told = (own,) if own else sample.captions or ()
        yield None, [Text(None, one, sample.id) for one in told]
    elif task == "ref-avs":
        yield from _referred(sample, own)
    else:
        frames = [one for one in sample.frames or () if not one.tasks or task in one.tasks]
        yield from ((frame.time_s, _of_frame(sample, frame, task, own, canvas_px)) for frame in frames)


def _told_events(sample: Sample, task: str) -> str:
    if sample.events is None:
        return ""
    if task == "avvp":
        return write_avvp([*_joined(sample.events, "visual"), *_joined(sample.events, "audio")])
    both = [event for event in sample.events if event.track == "both"]
    return write_ave(both) if both else ""


def _joined(events: Sequence[Event], track: Track) -> Iterator[Event]:
    """What is on a track or on both, as events of that track without overlaps."""
    for label in dict.fromkeys(event.label for event in events):
        spans = sorted(
            (event.start_s, event.end_s) for event in events if event.label == label and event.track in (track, "both")
        )
        open_span: tuple[float, float] | None = None
        for start, end in spans:
            if open_span is not None and start <= open_span[1]:
                open_span = open_span[0], max(open_span[1], end)
                continue
            if open_span is not None:
                yield Event(label, *open_span, track)
            open_span = start, end
        if open_span is not None:
            yield Event(label, *open_span, track)


def _of_frame(sample: Sample, frame: Frame, task: str, own: str, canvas_px: int) -> list[Text]:
    name = f"{sample.id} at {frame.time_s:g} s"
    if task in ("arig", "ssl"):
        if frame.boxes is None:
            return []
        boxes = [_scaled(box, sample, canvas_px) for box in frame.boxes]
        if task == "arig" and len(boxes) > 1:
            return []  # the task knows one sounding object
        made = own or (write_boxes(boxes) if task == "ssl" else write_box(boxes[0] if boxes else None))
        return [Text(None, made, name)]
    if task in SEMANTIC_TASKS:
        return [] if frame.classes is None else [Text(None, own, name, frame.label or "object", (), frame.classes)]
    if frame.masks is None:
        return []
    labels = " and ".join(dict.fromkeys(mask.label or "object" for mask in frame.masks))
    return [Text(None, own, name, labels or NOTHING, frame.masks)]


def _referred(sample: Sample, own: str) -> Iterator[tuple[float, list[Text]]]:
    by_time: dict[float, list[Text]] = {}
    for number, one in enumerate(sample.expressions or ()):
        label = (one.mask.label or "object") if one.mask is not None else NOTHING
        masks = () if one.mask is None else (one.mask,)
        text = Text(one.text, own, one.id or f"{sample.id} expression {number}", label, masks)
        by_time.setdefault(one.time_s, []).append(text)
    yield from by_time.items()


def _scaled(box: Box, sample: Sample, canvas_px: int) -> Box:
    if sample.size is None:
        raise ValueError(f"line {sample.line} ('{sample.id}') has boxes and no 'size' of its frame")
    x, y = canvas_px / sample.size[0], canvas_px / sample.size[1]
    return replace(box, x0=box.x0 * x, y0=box.y0 * y, x1=box.x1 * x, y1=box.y1 * y)
