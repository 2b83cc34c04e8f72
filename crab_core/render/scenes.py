"""What a result looks like over its clip: a frame with marks and the strip below it, and a sheet of several frames."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from crab_core.render.canvas import BACKGROUND, Canvas
from crab_core.render.lettering import BOLD, Colour, Picture, clock, text_width, write
from crab_core.render.marks import Mark, colours_of, draw_marks, marks_of
from crab_core.render.timeline import DIM, LIGHT, Strip, strip_of
from crab_core.types import Box, Event, Mask, Result

Marked = TypeVar("Marked", Mask, Box)
SHEET_PX, MOST_TILES = 1600, 24
_TILE_LONGEST_PX, _TILE_SHORTEST_PX = 480, 220


@dataclass
class Scene:
    """A result ready to be drawn over a clip of (W, H) = `size`; what is marked at a moment holds for `hold_s`."""

    size: tuple[int, int]
    canvas: Canvas
    strip: Strip
    colours: Mapping[str, Colour]
    masks: Mapping[float, Sequence[Mask]]
    boxes: Mapping[float, Sequence[Box]]
    hold_s: float
    _last: tuple[float, Canvas, tuple[Mark, ...]] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        result: Result,
        size: tuple[int, int],
        envelope: npt.NDArray[np.float32] | None = None,
        hold_s: float = 1.0,
        duration_s: float | None = None,
    ) -> Scene:
        """The scene of a result; `envelope` is that of `strip_of`. Without events, lanes show the marks."""
        canvas = Canvas.of(size)
        lasts = result.duration_s if duration_s is None else duration_s
        masks, boxes = _by_time(result.masks), _by_time(result.boxes)
        events = result.events or events_of(masks, boxes, hold_s, lasts)
        names = [one.label for one in _both(result.masks, result.boxes)]
        colours = colours_of([*names, *(event.label for event in result.events)])
        strip = strip_of(canvas.width, canvas.text_px, lasts, envelope, events, colours)
        return cls(size, canvas, strip, colours, masks, boxes, hold_s)

    @property
    def times_s(self) -> list[float]:
        """The moments that were looked at."""
        return sorted({*self.masks, *self.boxes})

    def frame(self, picture: Picture, now_s: float) -> Picture:
        """A frame (H, W, 3) of the clip with what holds at that time, and the strip below it."""
        moment = self._moment(now_s)
        drawn = self.marked(picture, moment, self.canvas)
        lit = self.strip.lit(now_s, self.labels(moment), self.colours)
        return np.concatenate([self.canvas.padded(drawn), lit])

    def marked(self, picture: Picture, moment_s: float | None, canvas: Canvas) -> Picture:
        """A frame at the size of a canvas with the marks of a moment, without anything around it."""
        drawn = canvas.drawn(picture)
        if moment_s is None:
            return drawn
        if self._last is None or self._last[:2] != (moment_s, canvas):
            masks, boxes = self.masks.get(moment_s, ()), self.boxes.get(moment_s, ())
            self._last = moment_s, canvas, marks_of(masks, boxes, self.colours, self.size, canvas)
        return draw_marks(drawn, self._last[2], canvas.text_px)

    def labels(self, moment_s: float | None) -> list[str]:
        """The names of what is marked at a moment, each once."""
        if moment_s is None:
            return []
        both = _both(self.masks.get(moment_s, ()), self.boxes.get(moment_s, ()))
        return list(dict.fromkeys(one.label for one in both))

    def _moment(self, now_s: float) -> float | None:
        """The moment whose marks hold now: the last one before, if it is not too long ago."""
        times = self.times_s
        place = bisect.bisect_right(times, now_s + 1e-6)
        if not place or now_s >= times[place - 1] + self.hold_s - 1e-6:
            return None
        return times[place - 1]


def contact_sheet(scene: Scene, frames: Sequence[tuple[float, Picture]], title: str, subtitle: str = "") -> Picture:
    """Frames (time, (H, W, 3)) with their marks in rows, each with its time and labels, over one strip.

    Of more than 24 frames, 24 are taken, evenly spread.
    """
    step = max(1, math.ceil(len(frames) / MOST_TILES))
    chosen = list(frames)[::step]
    tile = Canvas.of(scene.size, _TILE_LONGEST_PX, _TILE_SHORTEST_PX, _TILE_SHORTEST_PX)
    gap, px = 12, 15
    columns = max(1, min(len(chosen), (SHEET_PX - gap) // (tile.width + gap), math.ceil(len(chosen) ** 0.5) + 1))
    tiles = [_tile(scene, tile, px, time_s, picture) for time_s, picture in chosen]
    width = max(gap + columns * (tile.width + gap), 480)
    rows = [_row(tiles[first : first + columns], width, gap) for first in range(0, len(tiles), columns)]
    strip = strip_of(width, px, scene.strip.duration_s, scene.strip.envelope, scene.strip.events, scene.colours)
    head = np.full((round(px * 3.6), width, 3), BACKGROUND, np.uint8)
    write(head, title, (gap, 4, width - 2 * gap, px * 2), px + 3, LIGHT, BOLD)
    write(head, subtitle, (gap, px * 2, width - 2 * gap, round(px * 1.5)), px, DIM)
    sheet = np.concatenate([head, *rows, strip.lit(None, list(scene.colours), scene.colours)])
    return np.ascontiguousarray(sheet)


def events_of(
    masks: Mapping[float, Sequence[Mask]], boxes: Mapping[float, Sequence[Box]], hold_s: float, duration_s: float
) -> tuple[Event, ...]:
    """When each label was marked, as events: moments no further apart than `hold_s` are one event."""
    spans: dict[str, list[list[float]]] = {}
    for at_s in sorted({*masks, *boxes}):
        for label in dict.fromkeys(one.label for one in _both(masks.get(at_s, ()), boxes.get(at_s, ()))):
            known = spans.setdefault(label, [])
            if known and at_s <= known[-1][1] + 1e-6:
                known[-1][1] = at_s + hold_s
            else:
                known.append([at_s, at_s + hold_s])
    return tuple(
        Event(label, start, min(end, duration_s) if duration_s > start else end)
        for label, known in spans.items()
        for start, end in known
    )


def _tile(scene: Scene, canvas: Canvas, px: int, time_s: float, picture: Picture) -> Picture:
    """A marked frame over its time and its labels."""
    caption = np.full((round(px * 1.7), canvas.width, 3), BACKGROUND, np.uint8)
    said = clock(time_s)
    wide = text_width(said, px, BOLD) + px // 2
    write(caption, said, (2, 0, wide, len(caption)), px, LIGHT, BOLD)
    labels = ", ".join(scene.labels(time_s)) or "nothing"
    write(caption, labels, (wide + 4, 0, canvas.width - wide - 4, len(caption)), px, DIM)
    return np.concatenate([canvas.padded(scene.marked(picture, time_s, canvas)), caption])


def _row(tiles: Sequence[Picture], width: int, gap: int) -> Picture:
    row = np.full((tiles[0].shape[0] + gap, width, 3), BACKGROUND, np.uint8)
    left = gap
    for tile in tiles:
        row[: tile.shape[0], left : left + tile.shape[1]] = tile
        left += tile.shape[1] + gap
    return row


def _by_time(found: Sequence[Marked]) -> dict[float, list[Marked]]:
    by_time: dict[float, list[Marked]] = {}
    for one in found:
        by_time.setdefault(one.time_s, []).append(one)
    return by_time


def _both(masks: Sequence[Mask], boxes: Sequence[Box]) -> list[Mask | Box]:
    """What is really there: boxes, and masks that are not empty."""
    return [*(mask for mask in masks if mask.area_px), *boxes]
