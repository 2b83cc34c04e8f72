"""One line of a data file: a clip and what is true about it. docs/data.md describes the keys.

A key that is absent means "not annotated"; an empty list means "nothing is there". Times are seconds of the clip,
boxes pixels of the original frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from crab_core.types import Box, Event

SCHEMA = "crab.sample/1"
MOST_PIXELS = 1 << 26  # of a mask or a map: a line of text may claim any size
TRACKS = ("audio", "visual", "both")
KEYS = (
    "schema", "id", "file", "audio", "split", "tasks", "seconds", "size", "questions", "events", "frames",
    "expressions", "captions", "targets", "labels", "choices",
)  # fmt: skip
_QUESTION = ("id", "question", "answer", "type", "modality", "template", "target", "options")
_EVENT = ("label", "start_s", "end_s", "track")
_FRAME = ("time_s", "tasks", "boxes", "masks", "classes", "label")
_EXPRESSION = ("id", "text", "time_s", "mask")
_MASK = ("label", "file", "rle")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its true answer, which is one of `options` if there are any.

    `target` is the text that a model may learn to write.
    """

    question: str
    answer: str
    id: str = ""
    type: str = ""
    modality: str = ""
    template: str = ""
    target: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MaskRef:
    """Where the pixels of a mask are: a picture whose pixels above 0 are inside, or COCO's run lengths."""

    label: str = ""
    file: str | None = None
    rle: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """What is true of one picture. `classes` is a picture of class indices (AVSS). None is "not annotated".

    `label` says in words what a map shows, for the text to learn. `tasks`, if any are named, are the only ones that the
    picture is for.
    """

    time_s: float
    boxes: tuple[Box, ...] | None = None
    masks: tuple[MaskRef, ...] | None = None
    classes: str | None = None
    tasks: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class Expression:
    """What an expression means in one picture; `mask` is None if it means nothing there."""

    text: str
    time_s: float
    mask: MaskRef | None
    id: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A clip and what is true about it; `line` is where it stands in its file.

    `tasks`, if any are named, are the only ones that the line is for. `size` is (width, height) of the frame.
    `labels` are true answers by task, where a task asks a clip one thing; `choices` are files of which one matches.
    `is_generated` tells clips of the generated world, whose scores compare with no paper's.
    """

    file: str
    id: str
    line: int = 0
    audio: str | None = None
    split: str = ""
    tasks: tuple[str, ...] = ()
    seconds: float | None = None
    size: tuple[int, int] | None = None
    questions: tuple[Question, ...] | None = None
    events: tuple[Event, ...] | None = None
    frames: tuple[Frame, ...] | None = None
    expressions: tuple[Expression, ...] | None = None
    captions: tuple[str, ...] | None = None
    targets: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    choices: tuple[str, ...] = ()
    is_generated: bool = False

    def is_for(self, task: str) -> bool:
        """True unless the line names its tasks and this is none of them."""
        return not self.tasks or task in self.tasks


def label_key(label: str) -> str:
    """The label in the form that is compared: `"Acoustic_Guitar "` -> `"acoustic guitar"`."""
    return " ".join(label.lower().replace("_", " ").split())


class SampleError(ValueError):
    """A line has mistakes; `mistakes` holds all of them."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = tuple(mistakes)


def read_sample(document: Mapping[str, Any], line: int = 0) -> Sample:
    """The sample of a line's document; raises SampleError with all mistakes."""
    reader = _Reader(document)
    reader.only(KEYS)
    if document.get("schema", SCHEMA) != SCHEMA:
        reader.mistakes.append(f"schema '{document['schema']}' is not '{SCHEMA}'")
    file = reader.text("file", required=True)
    made = Sample(
        file=file,
        id=reader.text("id") or file,
        line=line,
        audio=reader.text("audio") or None,
        split=reader.text("split"),
        tasks=reader.texts("tasks") or (),
        seconds=reader.number("seconds", above=0.0) if "seconds" in document else None,
        size=reader.size(),
        questions=reader.several("questions", _question),
        events=reader.several("events", _event),
        frames=reader.several("frames", _frame),
        expressions=reader.several("expressions", _expression),
        captions=reader.texts("captions"),
        targets=reader.mapping("targets"),
        labels=reader.mapping("labels"),
        choices=reader.texts("choices") or (),
    )
    if reader.mistakes:
        raise SampleError(reader.mistakes)
    return made


class _Reader:
    """Takes values out of an object and writes down what is wrong with them."""

    def __init__(self, document: Mapping[str, Any], where: str = "", mistakes: list[str] | None = None) -> None:
        self.document = document
        self.where = where
        self.mistakes: list[str] = [] if mistakes is None else mistakes

    def wrong(self, key: str, wanted: str) -> None:
        """One mistake: what the key holds and what it should be."""
        self.mistakes.append(f"'{self.where}{key}' is {_shown(self.document.get(key))}, not {wanted}")

    def only(self, keys: Sequence[str]) -> None:
        """Every other key is a mistake, with the nearest known one."""
        import difflib

        for key in self.document:
            if key not in keys:
                near = difflib.get_close_matches(str(key), keys, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(keys)}"
                self.mistakes.append(f"unknown key '{self.where}{key}', {hint}")

    def text(self, key: str, *, required: bool = False) -> str:
        """The text of a key, "" if it is absent."""
        value = self.document.get(key)
        if value is None and not required:
            return ""
        if isinstance(value, str) and (value.strip() or not required) and "\0" not in value:
            return value
        self.wrong(key, "a text")
        return ""

    def number(self, key: str, *, above: float | None = None, least: float | None = None) -> float:
        """The number of a key, in its range."""
        value = self.document.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        if not is_number:
            self.wrong(key, "a number")
        elif above is not None and not value > above:  # type: ignore[operator]
            self.wrong(key, f"above {above:g}")
        elif least is not None and not value >= least:  # type: ignore[operator]
            self.wrong(key, f"at least {least:g}")
        else:
            return float(value)  # type: ignore[arg-type]
        return 0.0

    def texts(self, key: str) -> tuple[str, ...] | None:
        """The texts of a list, None if the key is absent."""
        value = self.document.get(key)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return tuple(value)
        self.wrong(key, "a list of texts")
        return None

    def mapping(self, key: str) -> Mapping[str, str] | None:
        """Texts by name, None if the key is absent."""
        value = self.document.get(key)
        if value is None or (isinstance(value, dict) and all(isinstance(one, str) for one in value.values())):
            return value
        self.wrong(key, "an object of texts")
        return None

    def size(self) -> tuple[int, int] | None:
        """(width, height), None if the key is absent."""
        value = self.document.get("size")
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 2 and all(type(one) is int and one > 0 for one in value):
            return value[0], value[1]
        self.wrong("size", "[width, height] in pixels")
        return None

    def several(self, key: str, read: Callable[[_Reader], T]) -> tuple[T, ...] | None:
        """A list of objects, None if the key is absent."""
        value = self.document.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.wrong(key, "a list")
            return None
        made = []
        for number, one in enumerate(value):
            if isinstance(one, dict):
                made.append(read(_Reader(one, f"{self.where}{key}[{number}].", self.mistakes)))
            else:
                self.mistakes.append(f"'{self.where}{key}[{number}]' is {_shown(one)}, not an object")
        return tuple(made)


def _question(reader: _Reader) -> Question:
    reader.only(_QUESTION)
    asked, answer = reader.text("question", required=True), reader.text("answer", required=True)
    texts = {key: reader.text(key) for key in _QUESTION if key not in ("question", "answer", "options")}
    return Question(asked, answer, **texts, options=reader.texts("options") or ())


def _event(reader: _Reader) -> Event:
    reader.only(_EVENT)
    label, track = reader.text("label", required=True), reader.document.get("track", "both")
    start_s, end_s = reader.number("start_s", least=0.0), reader.number("end_s", above=0.0)
    if track not in TRACKS:
        reader.wrong("track", "audio, visual or both")
        track = "both"
    if not start_s < end_s:
        if end_s:
            reader.mistakes.append(f"'{reader.where}start_s' {start_s:g} is not before its end {end_s:g}")
        return Event(label, 0.0, 1.0)
    return Event(label, start_s, end_s, track)


def _frame(reader: _Reader) -> Frame:
    reader.only(_FRAME)
    time_s = reader.number("time_s", least=0.0)
    boxes = reader.several("boxes", _box)
    placed = None if boxes is None else tuple(Box(b.label, b.x0, b.y0, b.x1, b.y1, time_s) for b in boxes)
    masks, classes = reader.several("masks", _mask), reader.text("classes") or None
    return Frame(time_s, placed, masks, classes, reader.texts("tasks") or (), reader.text("label"))


def _box(reader: _Reader) -> Box:
    reader.only(("label", "box"))
    label, corners = reader.text("label", required=True), reader.document.get("box")
    if isinstance(corners, list) and len(corners) == 4 and all(type(one) in (int, float) for one in corners):
        x0, y0, x1, y1 = corners
        if x0 < x1 and y0 < y1:
            return Box(label, x0, y0, x1, y1)
    reader.wrong("box", "[x0, y0, x1, y1] with x0 < x1 and y0 < y1")
    return Box(label, 0, 0, 1, 1)


def _mask(reader: _Reader) -> MaskRef:
    reader.only(_MASK)
    file, rle = reader.text("file") or None, reader.document.get("rle")
    if (file is None) == (rle is None):
        reader.mistakes.append(f"'{reader.where.rstrip('.')}' needs one of 'file' and 'rle'")
    elif rle is not None and not _is_rle(rle):
        reader.wrong("rle", '{"size": [height, width], "counts": "..."} of COCO')
    return MaskRef(reader.text("label"), file, rle)


def _expression(reader: _Reader) -> Expression:
    reader.only(_EXPRESSION)
    mask, value = None, reader.document.get("mask")
    if isinstance(value, dict):
        mask = _mask(_Reader(value, f"{reader.where}mask.", reader.mistakes))
    elif value is not None or "mask" not in reader.document:
        reader.wrong("mask", "a mask, or null where the expression means nothing")
    return Expression(reader.text("text", required=True), reader.number("time_s", least=0.0), mask, reader.text("id"))


def _is_rle(value: Any) -> bool:
    from crab_core.types import Mask

    try:
        mask = Mask.from_dict({"label": "", "time_s": 0.0, "rle": value})
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return mask.size[0] * mask.size[1] <= MOST_PIXELS


def _shown(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
