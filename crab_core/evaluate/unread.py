"""Masks that were drawn from places in a text (Crab+): which texts could be read, by us and by the published scorer.

A text that cannot be read is a failure of the model and counts as one. Crab+'s published scorer leaves such samples out
of the mean; its number stands beside ours and is named by it. It also calls a box that touches the border unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crab_core.evaluate.masks import MaskRow, everything
from crab_core.registry import TASKS
from crab_core.tasks.pictures import is_nothing
from crab_core.types import Canvas

SIDE = 224
POINTS = 3
_PLACE = re.compile(r"\[(\d+),(\d+)(?:,(\d+),(\d+))?\]")
_AT = re.compile(r"^\[(\d+(?:\.\d+)?) s\] ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the text behind a mask: if it tells a place, if we can read it, if the published scorer can.

    `is_lost` is a text that says something, and neither a place nor that there is nothing.
    """

    has_place: bool = False
    is_read: bool = True
    is_kept: bool = True
    is_lost: bool = False


def told_by(task: str, text: str, time_s: float) -> Told:
    """What a text says, or the part of it that is about that second where a text is about several."""
    said = at_time(text, time_s)
    if not said.strip() or "<mask_" in said:
        return Told(is_read=bool(said.strip()), is_kept=False)
    reading = TASKS[task].load().read(said, Canvas(10.0, size=(SIDE, SIDE), model_size=(SIDE, SIDE)))
    is_empty = reading.answer is not None and is_nothing(reading.answer.text)
    placed = bool(reading.boxes or reading.points)
    return Told(placed, placed or is_empty, is_kept(task, said), not (placed or is_empty))


def at_time(text: str, time_s: float) -> str:
    """The line of a text that begins with the time nearest to `time_s`, `[2.5 s] ...`; a text without times whole."""
    starts = list(_AT.finditer(text))
    if not starts:
        return text
    ends = [*(match.start() for match in starts[1:]), len(text)]
    nearest = min(range(len(starts)), key=lambda number: abs(float(starts[number][1]) - time_s))
    return text[starts[nearest].end() : ends[nearest]].strip()


def is_kept(task: str, text: str) -> bool:
    """True if Crab+'s published scorer takes a sample with this text into its mean."""
    said = text.split("</s>")[0]
    if task == "ref-avs":
        if "<answer>false</answer>" in said:
            return True
        if "<answer>true</answer>" not in said:
            return False
    found = [tuple(int(one) for one in match.groups() if one is not None) for match in _PLACE.finditer(said)]
    boxes, points = ([one for one in found if len(one) == size] for size in (4, 2))
    used = [*boxes[:1], *points[-POINTS:]]
    least = 1 if boxes or task == "ref-avs" else POINTS
    enough = bool(used) if task == "ref-avs" else len(points) >= least
    return enough and all(_is_inside(one) for one in used)


def failed(rows: Sequence[MaskRow], told: Sequence[Told]) -> list[MaskRow]:
    """The rows, with those of unread texts wrong also where there is nothing to find: told to be the whole picture."""
    return [
        everything(row) if not (one.is_read or row.true or row.told) else row
        for row, one in zip(rows, told, strict=True)
    ]


def _is_inside(numbers: tuple[int, ...]) -> bool:
    if not all(0 <= one < SIDE for one in numbers):
        return False
    return len(numbers) == 2 or (numbers[0] < numbers[2] and numbers[1] < numbers[3])
