"""Rows of `crab data synth` as samples, so that generated clips are checked and scored like any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crab_core.data.sample import Frame, Question, Sample, SampleError
from crab_core.types import Box, Event

TASKS = ("avqa", "avvp", "avcap", "ssl")  # "ave" too, where one event is both seen and heard
OPEN = "Open"  # questions with a list or a time as their answer, which no exact answer fits


def is_world_row(document: Mapping[str, Any]) -> bool:
    """True for a row that `crab data synth` wrote."""
    return "generator" in document and "kind" in document


def of_world_row(row: Mapping[str, Any], line: int = 0) -> Sample:
    """The sample of a generated clip; raises SampleError if the row was damaged."""
    try:
        size, seconds = int(row["size_px"]), float(row["seconds"])
        return Sample(
            file=str(row["file"]),
            id=str(row["file"]),
            line=line,
            is_generated=True,
            split=str(row["split"]),
            tasks=(*TASKS, "ave") if row["kind"] == "ave" else TASKS,
            seconds=seconds,
            size=(size, size),
            questions=tuple(_question(one) for one in row.get("qa", ()) if one["type"] != OPEN),
            events=tuple(_events(row)),
            frames=tuple(_frames(row, int(seconds))),
            captions=(str(row["caption"]),) if "caption" in row else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise SampleError([f"the generated row was damaged: {type(err).__name__} {err}"]) from err


def _question(one: Mapping[str, Any]) -> Question:
    keys = ("question", "answer", "type", "modality", "template", "target")
    return Question(**{key: str(one[key]) for key in keys})


def _events(row: Mapping[str, Any]) -> Iterator[Event]:
    """What is seen (of classes that can sound), what is heard, and what is both at once."""
    for key, track in (("seen", "visual"), ("heard", "audio"), ("both", "both")):
        for fact in row[key]:
            if fact.get("can_sound", True):
                yield Event(fact["name"], fact["start_s"], fact["end_s"], track)  # type: ignore[arg-type]


def _frames(row: Mapping[str, Any], seconds: int) -> Iterator[Frame]:
    """The boxes of what sounds in each second's frame."""
    heard = [(fact["name"], fact["start_s"], fact["end_s"]) for fact in row["heard"]]
    for second in range(seconds):
        sounding = {name for name, start, end in heard if start <= second < end}
        boxes = (box for box in row["boxes"] if box["second"] == second and box["name"] in sounding)
        yield Frame(float(second), tuple(_box(box["name"], box["box"], second) for box in boxes))


def _box(name: str, corners: Sequence[float], second: int) -> Box:
    x0, y0, x1, y1 = corners
    return Box(name, x0, y0, x1, y1, float(second))
