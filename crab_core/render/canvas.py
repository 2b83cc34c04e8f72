"""How large pictures with marks are drawn, whatever the clip's size: text must be readable on a thumbnail and on 4K."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from crab_core.render.lettering import Picture

SHORTEST_PX, LONGEST_PX, NARROWEST_PX = 360, 1920, 320
_TEXT_SHARE, _LEAST_TEXT_PX, _MOST_TEXT_PX = 0.022, 13, 36
_BLOCKS_FROM = 3.0  # from here on pixels are enlarged as squares: smoothing would invent a picture
BACKGROUND = (20, 23, 26)


@dataclass(frozen=True, slots=True)
class Canvas:
    """`size` (w, h) of the clip's picture as it is drawn, `left` and `right` the empty columns beside it.

    A short side of less than 360 px is enlarged to that, a long side of more than 1920 px reduced; what is narrower
    than 320 px stands between two empty stripes. All sides are even, as H.264 wants them. `text_px` suits the size.
    """

    size: tuple[int, int]
    left: int
    right: int
    text_px: int

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        longest_px: int = LONGEST_PX,
        shortest_px: int = SHORTEST_PX,
        narrowest_px: int = NARROWEST_PX,
    ) -> Canvas:
        """The canvas for a clip of (W, H) pixels."""
        scale = min(max(1.0, shortest_px / min(size)), longest_px / max(size))
        width, height = (max(2, round(side * scale / 2) * 2) for side in size)
        spare = max(0, narrowest_px - width)
        text = round(_TEXT_SHARE * (max(width, narrowest_px) * height) ** 0.5)
        return cls((width, height), spare // 2, spare - spare // 2, min(max(text, _LEAST_TEXT_PX), _MOST_TEXT_PX))

    @property
    def width(self) -> int:
        """Of the whole, with empty columns."""
        return self.left + self.size[0] + self.right

    def drawn(self, picture: Picture) -> Picture:
        """A frame (H, W, 3) at the size of the canvas, without the empty columns."""
        height, width = picture.shape[:2]
        if (width, height) == self.size:
            return np.ascontiguousarray(picture)
        scale = self.size[0] / width
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= _BLOCKS_FROM else cv2.INTER_CUBIC
        scaled: Picture = cv2.resize(picture, self.size, interpolation=way)
        return scaled

    def padded(self, picture: Picture) -> Picture:
        """A drawn picture with the empty columns."""
        if not (self.left or self.right):
            return picture
        return cv2.copyMakeBorder(picture, 0, 0, self.left, self.right, cv2.BORDER_CONSTANT, value=BACKGROUND)
