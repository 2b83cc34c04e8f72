"""What any model said, from a file of JSON lines: results of `crab infer`, or rows with an id and a text.

A row is found by its `id` (that of the question or of the sample, else the name of the clip's file), by its `question`
where a clip has several, and by its `time_s` where a row is about one picture. Only keys and offsets stay in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from crab_core.data.lines import BadLine, read_objects
from crab_core.data.places import inside
from crab_core.data.sample import MOST_PIXELS
from crab_core.errors import InputError, UsageError
from crab_core.evaluate.asks import Ask
from crab_core.registry import TASKS
from crab_core.types import Box, Canvas, Event, Mask, Result

IDS = ("id", "question_id", "qid", "vid")
TEXTS = ("raw_text", "text", "predict")
_MOST_TOLD = 3
Key = tuple[str, str | None, float | None]


@dataclass(frozen=True, slots=True)
class Soft:
    """Probabilities (H, W) of one picture in a file, instead of a mask that is in or out."""

    time_s: float
    path: Path


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model said to one ask, read by the task's reader where only a text was given."""

    text: str = ""
    answer: str = ""
    events: tuple[Event, ...] = ()
    boxes: tuple[Box, ...] = ()
    masks: tuple[Mask, ...] = ()
    soft: tuple[Soft, ...] = ()
    classes: tuple[Soft, ...] = ()


class Source(Protocol):
    """Where predictions come from: a file or a model."""

    @property
    def name(self) -> str:
        """What the predictions are called in a report."""
        ...

    def find(self, task: str, ask: Ask) -> Prediction | None:
        """The prediction for an ask; None if there is none, which counts as wrong."""
        ...

    def notes(self) -> Iterator[str]:
        """What the user should know of the predictions as a whole."""
        ...


def of_result(result: Result) -> Prediction:
    """A result of our own as a prediction."""
    said = result.answer.text if result.answer else ""
    return Prediction(result.raw_text, said, result.events, result.boxes, result.masks)


@dataclass
class Predictions:
    """The rows of a predictions file, found by key; rows that name another task are passed over.

    Raises InputError if the file cannot be read, has lines that are no predictions, or holds none of the task.
    """

    path: Path
    task: str
    name: str = ""
    _where: dict[Key, tuple[int, int]] = field(default_factory=dict)  # offset and line
    _used: set[int] = field(default_factory=set)
    _repeated: int = 0

    def __post_init__(self) -> None:
        self.name = self.name or str(self.path)
        bad: list[BadLine] = []
        for found in read_objects(self.path):
            if isinstance(found, BadLine):
                bad.append(found)
                continue
            if found.document.get("task", self.task) != self.task:
                continue
            key = _key(found.document)
            if key is None:
                bad.append(BadLine(found.line, (f"no 'id' among {_keys(found.document)}",)))
                continue
            self._repeated += key in self._where
            self._where[key] = found.offset, found.line
        if bad:
            told = [f"line {one.line}: {one.mistakes[0]}" for one in bad[:_MOST_TOLD]]
            more = [f"and {len(bad) - _MOST_TOLD} more"] if len(bad) > _MOST_TOLD else []
            raise InputError(f"'{self.path}' has lines that are no predictions", hint="\n".join([*told, *more]))
        if not self._where:
            raise InputError(
                f"'{self.path}' holds no predictions of task '{self.task}'",
                hint='Write {"id": "a.mp4", "text": "..."} a line.',
            )

    def find(self, task: str, ask: Ask) -> Prediction | None:
        """The prediction for an ask; raises InputError for a row whose values cannot be used."""
        for key in _wanted(ask):
            if key in self._where:
                offset, line = self._where[key]
                self._used.add(line)
                try:
                    document = self._row(offset)
                    return _prediction(document, task, ask, self.path.parent)
                except (LookupError, TypeError, ValueError, AttributeError) as err:
                    said = f"no key {err}" if isinstance(err, KeyError) else str(err)
                    raise InputError(
                        f"'{self.path}', line {line} is no prediction of {task}: {said}",
                        hint="docs/data.md shows the keys of a prediction.",
                    ) from err
        return None

    def _row(self, offset: int) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                row: dict[str, Any] = json.loads(file.readline().decode("utf-8-sig"))
        except OSError as err:
            raise InputError(f"cannot read '{self.path}': {err.strerror}", hint="Was it moved meanwhile?") from err
        return row

    def notes(self) -> Iterator[str]:
        """Rows that nothing asked for, and rows told twice."""
        if self._repeated:
            yield f"{self._repeated} predictions repeat an id; the last one of each was scored"
        unused = len(self._where) - len(self._used)
        if unused:
            yield f"{unused} of {len(self._where)} predictions belong to nothing in the data and were not scored"

    def some_ids(self) -> str:
        """A few ids, for a message."""
        return ", ".join(f"'{key[0]}'" for key in list(self._where)[:_MOST_TOLD])


def check_found(source: Source, found: int, asked: int, example: str) -> None:
    """Raises UsageError if no prediction belongs to anything that was asked."""
    if not found and isinstance(source, Predictions):
        raise UsageError(
            f"none of the {asked} samples has a prediction in '{source.name}'",
            hint=f"The data has ids such as '{example}', the predictions {source.some_ids()}.",
        )


def _key(document: Mapping[str, Any]) -> Key | None:
    name = next((document[key] for key in IDS if isinstance(document.get(key), str | int)), None)
    if name is None:
        return None
    question, time_s = document.get("question"), document.get("time_s")
    asked = " ".join(question.split()) if isinstance(question, str) else None
    is_time = isinstance(time_s, int | float) and time_s == time_s  # nan equals nothing
    return str(name), asked, float(time_s) if is_time else None  # type: ignore[arg-type]


def _wanted(ask: Ask) -> Iterator[Key]:
    """Every key that would be a prediction for the ask, the closest first.

    A prediction without a question answers the only question of a sample.
    """
    question = None if ask.question is None else " ".join(ask.question.split())
    is_only = len(ask.sample.questions or ask.sample.expressions or ()) < 2
    for name in dict.fromkeys((ask.own_id, ask.sample.id, ask.sample.file)):
        for asked in dict.fromkeys((question, None) if name == ask.own_id or is_only else (question,)):
            for time_s in dict.fromkeys((ask.time_s, None)):
                if name:
                    yield name, asked, time_s


def _keys(document: Mapping[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(document)[:6]) or "no keys"


def _prediction(document: Mapping[str, Any], task: str, ask: Ask, folder: Path) -> Prediction:
    text = next((document[key] for key in TEXTS if isinstance(document.get(key), str)), "")
    text = text.removesuffix("</s>")
    answer = document.get("answer")
    said = answer["text"] if isinstance(answer, dict) else answer
    soft = [one for one in document.get("masks") or () if "file" in one]
    made = Prediction(
        text=text,
        answer=str(said) if said is not None else "",
        events=tuple(Event(**one) for one in document.get("events") or ()),
        boxes=tuple(_box(one, ask) for one in document.get("boxes") or ()),
        masks=tuple(_mask(one, ask) for one in document.get("masks") or () if "file" not in one),
        soft=tuple(Soft(_time(one, ask), inside(folder, one["file"])) for one in soft),
        classes=tuple(Soft(_time(one, ask), inside(folder, one["file"])) for one in document.get("classes") or ()),
    )
    is_told = any(document.get(key) is not None for key in ("answer", "events", "boxes", "masks", "classes"))
    return made if is_told or not text else _read(made, task, ask, document)


def _read(made: Prediction, task: str, ask: Ask, document: Mapping[str, Any]) -> Prediction:
    """The prediction with what the task's reader finds in its text."""
    size = ask.sample.size or (224, 224)
    told = document.get("model_size", (224, 224))
    seconds = max(1, round(ask.sample.seconds or 10))
    canvas = Canvas(float(seconds), seconds, size=size, model_size=(int(told[0]), int(told[1])))
    reading = TASKS[task].load().read(made.text, canvas)
    boxes = tuple(Box(b.label, b.x0, b.y0, b.x1, b.y1, ask.time_s or 0.0) for b in reading.boxes)
    return Prediction(made.text, reading.answer.text if reading.answer else "", reading.events, boxes)


def _time(one: Mapping[str, Any], ask: Ask) -> float:
    time_s = float(one.get("time_s", ask.time_s or 0.0))
    if not 0 <= time_s < float("inf"):
        raise ValueError(f"'time_s' is {time_s}, not a time from 0 on")
    return time_s


def _box(one: Mapping[str, Any], ask: Ask) -> Box:
    corners = one["box"] if "box" in one else [one[side] for side in ("x0", "y0", "x1", "y1")]
    x0, y0, x1, y1 = map(float, corners)
    return Box(str(one.get("label", "object")), x0, y0, x1, y1, _time(one, ask))


def _mask(one: Mapping[str, Any], ask: Ask) -> Mask:
    mask = Mask.from_dict({"label": "", **one, "time_s": _time(one, ask)})
    if mask.size[0] * mask.size[1] > MOST_PIXELS:
        raise ValueError(f"a mask of {mask.size[0]} x {mask.size[1]} pixels is too large")
    return mask
