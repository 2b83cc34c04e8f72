"""Where numbers in a text say that something is: boxes and points, from the picture that the model saw to the frame.

A box is `(x0,y0)...(x1,y1)` as Crab writes it, or `[x0,y0,x1,y1]` as Crab+ does; a point is `[x,y]`. Two square pairs
side by side are the corners of a box where nothing else in the text is a place. The border belongs to the picture: a
box that touches it is whole, unlike in Crab+'s published reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from crab_core.types import Box, Canvas, Point

MOST_POINTS = 3  # of a text that guide a mask: the last ones, as published
_NUMBER = r"\s*(-?[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*"
_ROUND, _SQUARE = rf"\({_NUMBER},{_NUMBER}\)", rf"\[{_NUMBER},{_NUMBER}\]"
_CORNERS = re.compile(rf"{_ROUND}[^()\[\]]*{_ROUND}|\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]")
_TWO_SQUARES = re.compile(rf"{_SQUARE}{_SQUARE}")
_POINT = re.compile(_SQUARE)
_PLACE = re.compile(r"\s*(?:\(|\[)[-\d\s.,]*(?:\)|\])")
Numbers = tuple[float, ...]


def corners_in(text: str) -> Iterator[Numbers]:
    """The four numbers of every box, in order."""
    found = [_numbers(match) for match in _CORNERS.finditer(text)]
    if not found and len(_POINT.findall(text)) == 2:
        found = [_numbers(match) for match in _TWO_SQUARES.finditer(text)]
    yield from found


def points_in(text: str, canvas: Canvas, label: str, problems: list[str]) -> tuple[Point, ...]:
    """Every `[x,y]` in pixels of the original frame; one outside the picture is left out and told in `problems`."""
    if not any(_CORNERS.finditer(text)) and len(_POINT.findall(text)) == 2 and _TWO_SQUARES.search(text):
        return ()
    (width, height), (across, down) = canvas.size, canvas.model_size
    points = []
    for x, y in (_numbers(match) for match in _POINT.finditer(text)):
        if 0 <= x <= across and 0 <= y <= down:
            points.append(Point(label, x * width / across, y * height / down))
        else:
            problems.append(f"the point [{x:g},{y:g}] lies outside the picture of {across} x {down}")
    return tuple(points)


def placed(label: str, numbers: Numbers, canvas: Canvas, problems: list[str]) -> Box | None:
    """The box in pixels of the original frame, cut to it; None, and a problem, if nothing of it is inside."""
    (width, height), (across, down) = canvas.size, canvas.model_size
    x0, y0, x1, y1 = numbers
    told = f"({x0:g},{y0:g})({x1:g},{y1:g})"
    if x0 >= x1 or y0 >= y1:
        problems.append(f"the box {told} of '{label}' has no area")
        return None
    inside = max(x0, 0.0), max(y0, 0.0), min(x1, float(across)), min(y1, float(down))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        problems.append(f"the box {told} of '{label}' lies outside the picture of {across} x {down}")
        return None
    if inside != numbers:
        problems.append(f"the box {told} of '{label}' was cut to the picture of {across} x {down}")
    scale_x, scale_y = width / across, height / down
    return Box(label, inside[0] * scale_x, inside[1] * scale_y, inside[2] * scale_x, inside[3] * scale_y)


def without_places(text: str) -> str:
    """The text without its boxes and points."""
    return _PLACE.sub(" ", text)


def points_of(box: Box, boxes: Sequence[Box], points: Sequence[Point]) -> tuple[Point, ...]:
    """The last points that belong to a box: all of them if it is the only one, else those that lie in it alone."""
    if len(boxes) == 1:
        return tuple(points[-MOST_POINTS:])
    inside = [point for point in points if [one for one in boxes if one.holds(point.x, point.y)] == [box]]
    return tuple(inside[-MOST_POINTS:])


def _numbers(match: re.Match[str]) -> Numbers:
    return tuple(float(one) for one in match.groups() if one is not None)
