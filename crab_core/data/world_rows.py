"""Rows of `crab data synth` as samples, so that generated clips are checked and scored like any others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crab_core.data.sample import Expression, Frame, MaskRef, Question, Sample, SampleError
from crab_core.types import Box, Event

TASKS = ("avqa", "avvp", "avcap", "ssl", "arig", "s4", "ms3", "ref-avs")  # and "ave" where one event is seen and heard
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
            expressions=tuple(_expression(one) for one in row.get("expressions", ())),
            captions=(str(row["caption"]),) if "caption" in row else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise SampleError([f"the generated row was damaged: {type(err).__name__} {err}"]) from err


def _question(one: Mapping[str, Any]) -> Question:
    asked, answer, type_, modality, template, target = (
        str(one[key]) for key in ("question", "answer", "type", "modality", "template", "target")
    )
    return Question(asked, answer, type=type_, modality=modality, template=template, target=target)


def _events(row: Mapping[str, Any]) -> Iterator[Event]:
    """What is seen (of classes that can sound), what is heard, and what is both at once."""
    for key, track in (("seen", "visual"), ("heard", "audio"), ("both", "both")):
        for fact in row[key]:
            if fact.get("can_sound", True):
                yield Event(fact["name"], fact["start_s"], fact["end_s"], track)  # type: ignore[arg-type]


def _frames(row: Mapping[str, Any], seconds: int) -> Iterator[Frame]:
    """The boxes and masks of what sounds in each second's frame; one box is for ARIG too, one class for S4."""
    heard = [(fact["name"], fact["start_s"], fact["end_s"]) for fact in row["heard"]]
    for second in range(seconds):
        sounding = {name for name, start, end in heard if start <= second < end}
        shown = [box for box in row["boxes"] if box["second"] == second and box["name"] in sounding]
        tasks = ["ssl", "ms3"] + (["arig"] if len(shown) < 2 else [])
        tasks += ["s4"] if len({box["name"] for box in shown}) == 1 else []
        boxes = tuple(_box(box["name"], box["box"], second) for box in shown)
        masks = tuple(MaskRef(box["name"], rle=box["rle"]) for box in shown) if all("rle" in b for b in shown) else None
        yield Frame(float(second), boxes, masks, tasks=tuple(tasks))


def _expression(one: Mapping[str, Any]) -> Expression:
    mask = None if one["rle"] is None else MaskRef(rle=one["rle"])
    return Expression(str(one["text"]), float(one["second"]), mask)


def _box(name: str, corners: Sequence[float], second: int) -> Box:
    x0, y0, x1, y1 = corners
    return Box(name, x0, y0, x1, y1, float(second))
