"""A clip with what each LoRA head looks at, side by side, and below it the sound with what each head listens to.

`document` and `arrays` are what `heads.json` and `heads.npz` hold. The model saw a few frames; a frame between them is
shown under the maps of the nearest one that it saw. Letters: H heads, S frames or windows of sound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from crab_core.render.canvas import BACKGROUND, Canvas
from crab_core.render.colours import colour, rgb
from crab_core.render.lettering import BOLD, on, write
from crab_core.render.overlays import overlay
from crab_core.render.timeline import DIM, LIGHT, NOW, Strip, strip_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    Floats = npt.NDArray[np.float32]

COLUMNS, WIDEST_PX, GAP_PX = 4, 1920, 8
PANEL_PX, LEAST_PX = 480, 300  # the longer side of one panel at most, its shorter side where that allows
NAME_ROWS, LANE_ROWS = 1.3, 3.2  # the height of a lane's name and of the whole lane, in letters


@dataclass(frozen=True)
class HeadsScene:
    """What was found about the heads of one answer, ready to be painted over its clip.

    `strip` holds the waveform and a lane a head: its bars are the evidence from sound that went through the head, one
    scale for all heads.
    """

    maps: Floats  # (H, S, rows, columns)
    times_s: Floats  # (S,)
    panel: Canvas
    columns: int
    names: tuple[str, ...]
    strip: Strip
    lanes_px: tuple[int, int]

    @classmethod
    def of(
        cls,
        document: Mapping[str, Any],
        arrays: Mapping[str, npt.NDArray[Any]],
        size: tuple[int, int],
        envelope: Floats | None = None,
    ) -> HeadsScene:
        """The scene for a clip of (W, H) pixels; `envelope` is that of `strip_of`, None without sound.

        Raises ValueError if there are no maps of pictures.
        """
        if "map_video" not in arrays:
            raise ValueError("without maps of pictures there is nothing to paint")
        heads = int(document["heads"])
        columns = min(COLUMNS, heads + 1)
        longest = min(PANEL_PX, (WIDEST_PX - GAP_PX * (columns - 1)) // columns)
        panel = Canvas.of(size, longest, LEAST_PX, LEAST_PX)
        width = columns * panel.width + (columns - 1) * GAP_PX
        width += width % 2
        strip, lanes_px = _strip(document, arrays, width, max(13, panel.text_px), envelope)
        names = ("clip", *(f"head {head + 1}" for head in range(heads)))
        times_s = np.asarray(document["frame_times_s"], np.float32)
        return cls(arrays["map_video"], times_s, panel, columns, names, strip, lanes_px)

    def frame(self, picture: Picture, now_s: float) -> Picture:
        """A frame (H, W, 3) of the clip at a time, once as it is and once a head, and the strip below."""
        shown = self.panel.drawn(picture)
        nearest = int(np.abs(self.times_s - now_s).argmin())
        highest = float(self.maps.max())
        painted = [overlay(shown, maps[nearest], highest, colour(head)) for head, maps in enumerate(self.maps)]
        panels = [self._panel(number, one) for number, one in enumerate([shown, *painted])]
        rows = [self._row(panels[first : first + self.columns]) for first in range(0, len(panels), self.columns)]
        lit = self.strip.lit(now_s, (), {})
        top, bottom = self.lanes_px
        x = self.strip.x_of(now_s)
        cv2.line(lit, (x, top), (x, bottom), NOW, 2)
        whole = np.concatenate([*rows, lit])
        return np.ascontiguousarray(whole[: len(whole) // 2 * 2])

    def _panel(self, number: int, picture: Picture) -> Picture:
        """A picture below its name, which stands on the colour of the head."""
        px = self.strip.text_px
        fill = BACKGROUND if number == 0 else rgb(colour(number - 1))
        head = np.full((round(px * 1.8), self.panel.width, 3), fill, np.uint8)
        write(head, self.names[number], (px // 2, 0, self.panel.width - px, len(head)), px, on(fill), BOLD)
        return np.concatenate([head, self.panel.padded(picture)])

    def _row(self, panels: Sequence[Picture]) -> Picture:
        row = np.full((len(panels[0]) + GAP_PX, self.strip.picture.shape[1], 3), BACKGROUND, np.uint8)
        for number, panel in enumerate(panels):
            left = number * (self.panel.width + GAP_PX)
            row[: len(panel), left : left + panel.shape[1]] = panel
        return row


def _strip(
    document: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], width: int, px: int, envelope: Floats | None
) -> tuple[Strip, tuple[int, int]]:
    """The strip with lanes of the heads below its axis, and the rows where these lie."""
    strip = strip_of(width, px, float(document["result"]["duration_s"]), envelope, (), {})
    heard, top = arrays.get("map_audio"), len(strip.picture)
    if heard is None:
        return strip, (top, top)
    evidence = heard.sum(2)  # (H, S, columns)
    lane, name, highest = round(px * LANE_ROWS), round(px * NAME_ROWS), float(evidence.max()) or 1.0
    lanes = np.full((lane * len(heard) + px // 2, width, 3), BACKGROUND, np.uint8)
    for head, rows in enumerate(evidence):
        part = lanes[head * lane : (head + 1) * lane]
        _bars(strip, part[name:], rows / highest, document["sound_windows_s"], rgb(colour(head)))
        write(part, f"head {head + 1}, heard", (strip.margin_px, 0, width // 2, name), px - 2, LIGHT)
    picture = np.concatenate([strip.picture, lanes])
    tall = Strip(picture, strip.duration_s, strip.text_px, strip.envelope, strip.events)
    return tall, (top, len(picture) - px // 2)


def _bars(
    strip: Strip, lane: Picture, parts: Floats, windows_s: Sequence[Sequence[float]], ink: tuple[int, int, int]
) -> None:
    """Bars (S, columns) of height 0 to 1 at the times of their windows, on a base line."""
    base, tall = len(lane) - 3, len(lane) - 6
    cv2.line(lane, (strip.margin_px, base + 1), (lane.shape[1] - strip.margin_px, base + 1), DIM, 1)
    for (start_s, end_s), values in zip(windows_s, parts, strict=False):
        edges = np.linspace(start_s, end_s, len(values) + 1)
        for value, first, last in zip(values, edges[:-1], edges[1:], strict=True):
            x0, x1 = strip.x_of(float(first)), strip.x_of(float(last))
            if value > 0 and first < strip.duration_s:
                cv2.rectangle(lane, (x0, base - round(tall * float(value))), (max(x0, x1 - 1), base), ink, -1)
