"""Masks and boxes on a picture, each with its label: tinted inside, outlined in its colour between light and dark.

Colours are those of Okabe and Ito, one a label; the outline and the label's name tell them apart without colours, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.render.canvas import Canvas
from crab_core.render.colours import PALETTE, rgb
from crab_core.render.lettering import BOLD, Colour, Picture, fitted, on, text_width, write
from crab_core.types import Box, Mask

STRENGTH = 0.45  # how much of a pixel inside a mask is the mask's colour
ORDER = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")  # bright ones first
_DARK: Colour = (16, 16, 16)


@dataclass(frozen=True, slots=True)
class _Tag:
    """A label's name and where it stands, as (x, y, width, height) of the drawn picture."""

    text: str
    place: tuple[int, int, int, int]


@dataclass(frozen=True)
class Mark:
    """One mask or box, ready to be drawn: `inside` are the pixels of a mask within (x0, y0, x1, y1) = `area`."""

    colour: Colour
    area: tuple[int, int, int, int]
    inside: npt.NDArray[np.bool_] | None
    outlines: tuple[npt.NDArray[np.int32], ...]
    tag: _Tag | None


def colours_of(labels: Iterable[str]) -> dict[str, Colour]:
    """One colour a label, in the order in which labels come; after the eighth they come again."""
    assert sorted(ORDER) == sorted(PALETTE)
    return {label: rgb(ORDER[place % len(ORDER)]) for place, label in enumerate(dict.fromkeys(labels))}


def marks_of(
    masks: Sequence[Mask], boxes: Sequence[Box], colours: Mapping[str, Colour], size: tuple[int, int], canvas: Canvas
) -> tuple[Mark, ...]:
    """The marks of one moment of a clip of (W, H) = `size`; empty masks have none. Names do not overlap."""
    taken: list[tuple[int, int, int, int]] = []
    found = []
    for mask in sorted(masks, key=lambda mask: -mask.area_px):  # small ones stand on large ones
        if mask.area_px:
            found.append(_of_mask(mask, colours[mask.label], canvas, taken))
    found += [_of_box(box, colours[box.label], size, canvas, taken) for box in boxes]
    return tuple(found)


def draw_marks(picture: Picture, marks: Sequence[Mark], text_px: int) -> Picture:
    """A drawn picture with marks on it; the picture itself stays as it is."""
    painted = picture.copy()
    for mark in marks:
        _tint(painted, mark)
    width = max(2, round(text_px / 9))
    for mark in marks:
        for colour, thick in ((_DARK, width + 4), ((255, 255, 255), width + 2), (mark.colour, width)):
            cv2.polylines(painted, mark.outlines, True, colour, thick, cv2.LINE_AA)
    for mark in marks:
        if mark.tag is not None:
            _draw_tag(painted, mark.tag, mark.colour, text_px)
    return painted


def _of_mask(mask: Mask, colour: Colour, canvas: Canvas, taken: list[tuple[int, int, int, int]]) -> Mark:
    pixels = mask.pixels.astype(np.uint8)
    if mask.size != canvas.size:
        pixels = cv2.resize(pixels * 255, canvas.size, interpolation=cv2.INTER_LINEAR) >= 128
    inside = pixels.astype(bool)
    if not inside.any():  # a few pixels of a large frame, lost by reducing it
        x0, y0, x1, y1 = _scaled(mask.box or (0, 0, 1, 1), mask.size, canvas.size)
        inside[y0:y1, x0:x1] = True
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    area = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    outlines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tag = _tag(mask.label, area, canvas, taken)
    return Mark(colour, area, inside[area[1] : area[3], area[0] : area[2]], tuple(outlines), tag)


def _of_box(
    box: Box, colour: Colour, size: tuple[int, int], canvas: Canvas, taken: list[tuple[int, int, int, int]]
) -> Mark:
    area = _scaled((box.x0, box.y0, box.x1, box.y1), size, canvas.size)
    x0, y0, x1, y1 = area
    outline = np.array([[x0, y0], [x1 - 1, y0], [x1 - 1, y1 - 1], [x0, y1 - 1]], np.int32)
    return Mark(colour, area, None, (outline,), _tag(box.label, area, canvas, taken))


def _scaled(
    box: tuple[float, float, float, float], size: tuple[int, int], drawn: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A box of the frame on the drawn picture: within it, and at least one pixel."""
    across, down = drawn[0] / size[0], drawn[1] / size[1]
    x0, y0 = (min(max(0, round(v)), side - 1) for v, side in zip((box[0] * across, box[1] * down), drawn, strict=True))
    x1, y1 = min(max(x0 + 1, round(box[2] * across)), drawn[0]), min(max(y0 + 1, round(box[3] * down)), drawn[1])
    return x0, y0, x1, y1


def _tint(painted: Picture, mark: Mark) -> None:
    if mark.inside is None:
        return
    x0, y0, x1, y1 = mark.area
    part = painted[y0:y1, x0:x1]
    mixed = part[mark.inside].astype(np.float32) * (1 - STRENGTH) + np.array(mark.colour, np.float32) * STRENGTH
    part[mark.inside] = np.rint(mixed).astype(np.uint8)


def _tag(
    label: str, area: tuple[int, int, int, int], canvas: Canvas, taken: list[tuple[int, int, int, int]]
) -> _Tag | None:
    """The name above the mark, else below it, else within it, moved down where another name stands."""
    px, (width, height) = canvas.text_px, canvas.size
    gap, tall = max(2, px // 3), px + max(4, px // 2)
    text = fitted(label, px, width - 2 * gap, BOLD)
    if not text or tall > height:
        return None
    wide = text_width(text, px, BOLD) + 2 * gap
    x = min(max(0, area[0]), width - wide)
    below = area[3] if area[3] + tall <= height else min(area[1], height - tall)
    y = area[1] - tall if area[1] >= tall else below
    places = [y, *range(0, height - tall + 1, max(1, tall // 2))]
    free = [top for top in places if not any(_overlap((x, top, wide, tall), other) for other in taken)]
    place = (x, min(free, key=lambda top: abs(top - y)) if free else y, wide, tall)
    taken.append(place)
    return _Tag(text, place)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _draw_tag(painted: Picture, tag: _Tag, colour: Colour, px: int) -> None:
    x, y, width, height = tag.place
    cv2.rectangle(painted, (x, y), (x + width - 1, y + height - 1), _DARK, -1)
    cv2.rectangle(painted, (x + 1, y + 1), (x + width - 2, y + height - 2), colour, -1)
    gap = max(2, px // 3)
    write(painted, tag.text, (x + gap, y, width - gap, height), px, on(colour), BOLD)
