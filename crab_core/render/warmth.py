"""Where a model thinks that something is, as a heat map over the frame: dark where not, bright where surely."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.render.lettering import Picture

_DIMMED, _STRENGTH = 0.45, 0.75  # of the frame below the heat, of the heat where it is certain


def heat_over(picture: Picture, grids: Sequence[npt.NDArray[np.uint8]]) -> Picture:
    """The frame (H, W, 3) with the likeliest of the grids (h, w), 0 to 255, over it; only dimmed without grids.

    The colours are viridis, which keep their order without colour and for the colour-blind.
    """
    height, width = picture.shape[:2]
    likely = np.zeros((height, width), np.float32)
    for grid in grids:
        large = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        likely = np.maximum(likely, large.reshape(height, width))
    warm = cv2.cvtColor(cv2.applyColorMap(np.rint(likely).astype(np.uint8), cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    share = (likely / 255 * _STRENGTH)[..., None]
    mixed: Picture = np.rint(picture * _DIMMED * (1 - share) + warm * share).astype(np.uint8)
    return mixed
