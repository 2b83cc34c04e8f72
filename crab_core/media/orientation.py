"""How a picture has to be turned before it is shown: the display matrix of phones and cameras."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Orientation:
    """Quarter turns and mirrors as: swap the two axes, then mirror left-right, then top-bottom."""

    swaps_axes: bool = False
    mirrors_x: bool = False
    mirrors_y: bool = False

    @property
    def rotation(self) -> int:
        """Degrees clockwise, 0, 90, 180 or 270; of a mirrored picture the turn beside the mirror."""
        if self.swaps_axes:
            return 90 if self.mirrors_x else 270
        return 180 if self.mirrors_y else 0

    def size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) that is shown for a stored one; the same function leads back."""
        return (stored[1], stored[0]) if self.swaps_axes else stored

    def upright(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A view of the stored picture (H, W, 3) as it is to be shown: (H, W, 3), or (W, H, 3) if axes swap."""
        turned = picture.swapaxes(0, 1) if self.swaps_axes else picture
        return turned[:: -1 if self.mirrors_y else 1, :: -1 if self.mirrors_x else 1]


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation that the frame's display matrix asks for, to the nearest quarter turn.

    Ask it of one frame of a clip: PyAV keeps a frame that was asked for side data until the garbage is collected.
    """
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV 18 does not know the side data of pictures with EXIF; their turn it tells, not mirrors
        return _TURNS[round(frame.rotation / 90) % 4]
    if matrix is None or len(bytes(matrix)) < 36:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix)[:36])  # shown x = ax + cy, shown y = bx + dy
    if abs(b) > abs(a):
        return Orientation(True, mirrors_x=c < 0, mirrors_y=b < 0)
    return Orientation(False, mirrors_x=a < 0, mirrors_y=d < 0)


_TURNS = (  # by quarter turns to the left
    Orientation(),
    Orientation(True, mirrors_y=True),
    Orientation(False, mirrors_x=True, mirrors_y=True),
    Orientation(True, mirrors_x=True),
)
