"""The strip below a picture: what is marked now and when now is, the sound as a waveform, and events over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.render.canvas import BACKGROUND
from crab_core.render.lettering import BOLD, Colour, Picture, clock, on, text_width, write
from crab_core.types import Event

MOST_LANES = 6
LIGHT, DIM, WAVE, RULE = (240, 240, 240), (165, 170, 178), (120, 128, 138), (70, 76, 84)
NOW = (255, 255, 255)
_TRACK_WORDS = {"audio": "heard", "visual": "seen", "both": ""}
_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True)
class Strip:
    """A strip without its moving parts; `lit` gives it at a time. `text_px` is the size of its letters.

    `envelope` and `events` are what it was made of.
    """

    picture: Picture
    duration_s: float
    text_px: int
    envelope: npt.NDArray[np.float32] | None
    events: tuple[Event, ...]

    @property
    def head_px(self) -> int:
        """The height of the line that says what is marked and when now is."""
        return round(self.text_px * 1.9)

    @property
    def margin_px(self) -> int:
        """Left and right of the time axis."""
        return margin_of(self.text_px)

    def lit(self, now_s: float | None, labels: Sequence[str], colours: Mapping[str, Colour]) -> Picture:
        """The strip at a time, with a line there, the time, and the names of what is marked; None is no time."""
        lit = self.picture.copy()
        px, width = self.text_px, lit.shape[1]
        right = width - self.margin_px
        if now_s is not None:
            x = self.x_of(now_s)
            cv2.line(lit, (x, self.head_px), (x, lit.shape[0] - round(px * 1.6)), (0, 0, 0), 4)
            cv2.line(lit, (x, self.head_px), (x, lit.shape[0] - round(px * 1.6)), NOW, 2)
            said = f"{clock(now_s)} / {clock(self.duration_s)}"
            if text_width(said, px) > width // 2:
                said = clock(now_s)
            wide = min(text_width(said, px) + 2, right)
            write(lit, said, (right - wide, 0, wide, self.head_px), px, LIGHT, align="right")
            right -= wide + px
        self._legend(lit, labels, colours, right)
        return lit

    def x_of(self, time_s: float) -> int:
        """The column of a time."""
        share = min(max(time_s / self.duration_s, 0.0), 1.0) if self.duration_s > 0 else 0.0
        return round(self.margin_px + share * (self.picture.shape[1] - 2 * self.margin_px - 1))

    def _legend(self, lit: Picture, labels: Sequence[str], colours: Mapping[str, Colour], right: int) -> None:
        px, left = self.text_px, self.margin_px
        names = list(dict.fromkeys(labels))
        for place, label in enumerate(names):
            more = f"+{len(names) - place}"
            room = right - left - (text_width(more, px) + px if place + 1 < len(names) else 0)
            wide = min(text_width(label, px, BOLD), max(room - round(px * 1.3), 0))
            if wide < 2 * px and wide < text_width(label, px, BOLD):
                write(lit, more, (left, 0, max(right - left, 0), self.head_px), px, DIM)
                return
            top, side = (self.head_px - round(px * 0.8)) // 2, round(px * 0.8)
            cv2.rectangle(lit, (left, top), (left + side, top + side), colours.get(label, WAVE), -1)
            write(lit, label, (left + round(px * 1.2), 0, wide + 2, self.head_px), px, LIGHT, BOLD)
            left += round(px * 1.2) + wide + px


def margin_of(text_px: int) -> int:
    """Left and right of the time axis."""
    return round(text_px * 0.8)


def strip_of(
    width: int,
    text_px: int,
    duration_s: float,
    envelope: npt.NDArray[np.float32] | None,
    events: Sequence[Event],
    colours: Mapping[str, Colour],
) -> Strip:
    """The strip of a clip, `width` pixels wide and of an even height.

    `envelope` (columns, 2) holds the lowest and highest sample of equal stretches of the clip, None without sound.
    At most six lanes of events are drawn; the last one then says how many labels more there are.
    """
    lanes = _lanes(events)
    shown = lanes if len(lanes) <= MOST_LANES else lanes[: MOST_LANES - 1]
    head, wave, lane, axis = (round(text_px * part) for part in (1.9, 2.4, 1.5, 1.6))
    rows = len(shown) + (len(shown) < len(lanes))
    height = head + wave + rows * lane + axis
    strip = Strip(
        np.full((height + height % 2, width, 3), BACKGROUND, np.uint8), duration_s, text_px, envelope, tuple(events)
    )
    bottom = head + wave + rows * lane
    _draw_axis(strip, head, bottom)
    _draw_wave(strip, head, wave, envelope)
    for row, group in enumerate(shown):
        _draw_lane(strip, group, head + wave + row * lane, lane, colours)
    if rows > len(shown):
        place = (strip.margin_px, bottom - lane, width - 2 * strip.margin_px, lane)
        write(strip.picture, f"and {len(lanes) - len(shown)} more", place, text_px, DIM)
    return strip


def _lanes(events: Sequence[Event]) -> list[list[Event]]:
    """The events of one label and track in one lane."""
    lanes: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        lanes.setdefault((event.label, event.track), []).append(event)
    return list(lanes.values())


def _draw_axis(strip: Strip, top: int, bottom: int) -> None:
    px, picture = strip.text_px, strip.picture
    room = picture.shape[1] - 2 * strip.margin_px
    widest = text_width(clock(strip.duration_s), px) + px
    step_s = next((s for s in _STEPS_S if strip.duration_s / s * widest <= room), strip.duration_s or 1.0)
    exact, last = step_s < 1, -px
    for number in range(math.floor(strip.duration_s / step_s + 1e-6) + 1):
        x, said = strip.x_of(number * step_s), clock(number * step_s, exact=exact)
        cv2.line(picture, (x, top), (x, bottom), RULE, 1)
        wide = text_width(said, px)
        left = min(max(2, x - wide // 2), picture.shape[1] - wide - 2)
        if left < last + px // 2:
            continue
        last = left + wide
        write(picture, said, (left, bottom, wide + 1, round(px * 1.6)), px, DIM)


def _draw_wave(strip: Strip, top: int, height: int, envelope: npt.NDArray[np.float32] | None) -> None:
    picture, left = strip.picture, strip.margin_px
    columns = picture.shape[1] - 2 * left
    middle = top + height // 2
    cv2.line(picture, (left, middle), (left + columns - 1, middle), RULE, 1)
    if envelope is None or not len(envelope):
        write(picture, "no sound", (left, top, columns, height), strip.text_px, DIM, align="middle")
        return
    edges = np.linspace(0, len(envelope), columns + 1).astype(int)
    loudest = max(float(np.abs(envelope).max()), 1e-4)
    half = height / 2 - 2
    for column in range(columns):
        part = envelope[edges[column] : max(edges[column + 1], edges[column] + 1)]
        low, high = float(part[:, 0].min()) / loudest, float(part[:, 1].max()) / loudest
        x = left + column
        cv2.line(picture, (x, round(middle - high * half)), (x, round(middle - low * half)), WAVE, 1)


def _draw_lane(strip: Strip, events: Sequence[Event], top: int, height: int, colours: Mapping[str, Colour]) -> None:
    """The bars of one label and track; its name stands in every bar that holds it, else once in the widest gap."""
    bars = [_draw_bar(strip, event, top, height, colours.get(event.label, WAVE)) for event in events]
    first, px = events[0], strip.text_px
    word = _TRACK_WORDS[first.track]
    said = f"{first.label}, {word}" if word else first.label
    wide, gap = text_width(said, px, BOLD), px // 3
    holding = [(x0, x1) for x0, x1 in bars if wide + 2 * gap <= x1 - x0]
    ink = on(colours.get(first.label, WAVE)) if first.track == "both" else LIGHT
    for x0, _ in holding:
        if first.track == "audio":
            strip.picture[top + 3 : top + height - 3, x0 + 1 : x0 + wide + 2 * gap] = BACKGROUND
        write(strip.picture, said, (x0 + gap, top, wide + 1, height), px, ink, BOLD)
    if not holding:
        left, right = _widest_gap(bars, strip.margin_px, strip.picture.shape[1] - strip.margin_px)
        is_before = left == strip.margin_px and right < strip.picture.shape[1] - strip.margin_px
        place = (left + gap, top, max(1, right - left - 2 * gap), height)
        write(strip.picture, said, place, px, LIGHT, BOLD, "right" if is_before else "left")


def _draw_bar(strip: Strip, event: Event, top: int, height: int, colour: Colour) -> tuple[int, int]:
    """One event; gives where it stands, [x0, x1)."""
    picture = strip.picture
    x0, x1 = strip.x_of(event.start_s), max(strip.x_of(event.end_s), strip.x_of(event.start_s) + 2)
    y0, y1 = top + 2, top + height - 2
    if event.track == "audio":
        _hatch(picture[y0:y1, x0:x1], colour)
    elif event.track == "both":
        cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), colour, -1)
    cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), colour, max(1, strip.text_px // 10))
    return x0, x1


def _widest_gap(bars: Sequence[tuple[int, int]], left: int, right: int) -> tuple[int, int]:
    """The widest stretch of [left, right) without a bar; of equal ones the last."""
    gaps, at = [], left
    for x0, x1 in sorted(bars):
        gaps.append((at, x0))
        at = max(at, x1)
    gaps.append((at, right))
    return max(reversed(gaps), key=lambda gap: gap[1] - gap[0])


def _hatch(part: Picture, colour: Colour) -> None:
    """Slanted lines, which say that something is heard."""
    rows, columns = np.indices(part.shape[:2])
    part[(rows + columns) % 8 < 3] = colour
