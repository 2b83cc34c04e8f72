"""Masks and maps of a data set as pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from crab_core.data.places import inside
from crab_core.data.sample import MOST_PIXELS, MaskRef
from crab_core.errors import InputError
from crab_core.types import Mask

CLASSES = 71  # of AVSBench, with the background


def mask_pixels(mask: MaskRef, root: Path) -> npt.NDArray[np.bool_]:
    """The pixels of a mask (H, W); raises InputError for a picture that is missing, broken or out of the root."""
    if mask.rle is not None:
        return Mask.from_dict({"label": "", "time_s": 0.0, "rle": mask.rle}).pixels
    picture = read_picture(inside(root, mask.file or ""))
    return np.asarray(picture.reshape(*picture.shape[:2], -1).max(axis=-1) > 0)


def class_map(path: Path) -> npt.NDArray[np.int64]:
    """Class indices (H, W) of a grey or palette PNG, or of a picture in the colours of AVSBench's classes.

    Raises InputError for other colours, or a bad file.
    """
    import av

    try:
        with av.open(str(path)) as container:
            shown = container.streams.video[0]
            if shown.width * shown.height > MOST_PIXELS:
                raise ValueError("too many pixels")
            frame = next(container.decode(video=0))
    except (OSError, ValueError, IndexError, StopIteration) as err:
        raise InputError(f"'{path}' is no picture that can be read", hint="Save class indices as PNG.") from err
    if frame.format.name not in ("pal8", "gray"):
        return _classes_of(frame.to_ndarray(format="rgb24"), path)
    plane = frame.planes[0]
    stored = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
    return stored[: frame.height, : frame.width].astype(np.int64)


def class_colours(count: int = CLASSES) -> npt.NDArray[np.uint8]:
    """(count, 3): bits 0, 1 and 2 of a number are the highest of red, green and blue, the next three the next."""
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _classes_of(picture: npt.NDArray[np.uint8], path: Path) -> npt.NDArray[np.int64]:
    """The class of each pixel (H, W) of a picture (H, W, 3)."""
    weights = np.array([1 << 16, 1 << 8, 1])
    known = class_colours().astype(np.int64) @ weights  # (classes,)
    codes = picture.astype(np.int64) @ weights  # (H, W)
    order = np.argsort(known)
    found = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    wrong = known[found] != codes
    if wrong.any():
        colour = tuple(int(one) for one in picture[wrong][0])
        raise InputError(
            f"'{path}' has the colour {colour}, which is none of the {len(known)} classes of AVSBench",
            hint="Write class indices as 8-bit grey or palette PNG.",
        )
    return found.astype(np.int64)


def probabilities(path: Path) -> npt.NDArray[np.float32]:
    """Probabilities (H, W) from a `.npy` of floats, or a grey picture whose white is 1; raises InputError."""
    if path.suffix == ".npy":
        try:
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as err:
            raise InputError(f"cannot read '{path}': {err}", hint="Save a float array with numpy.save.") from err
        if (
            values.ndim != 2
            or values.dtype.kind != "f"
            or values.size > MOST_PIXELS
            or not ((values >= 0) & (values <= 1)).all()
        ):
            raise InputError(f"'{path}' holds no (height, width) floats from 0 to 1", hint="Apply a sigmoid first.")
        return values.astype(np.float32)
    picture = read_picture(path)
    grey = picture if picture.ndim == 2 else picture[..., :3].max(axis=-1)
    return (grey / np.float32(np.iinfo(grey.dtype).max)).astype(np.float32)


def read_picture(path: Path) -> npt.NDArray[np.unsignedinteger]:
    """A picture as stored, (H, W) or (H, W, channels); raises InputError if it is missing, broken or huge."""
    import cv2

    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path of the mask.") from err
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:  # more pixels than OpenCV allows
        picture = None
    if picture is None or picture.shape[0] * picture.shape[1] > MOST_PIXELS:
        raise InputError(f"'{path}' is no picture that can be read", hint="Save masks as PNG.")
    return np.asarray(picture)


def resized(values: npt.NDArray[np.generic], side: int) -> npt.NDArray[np.generic]:
    """The nearest values on a grid of side x side, as the published scorers resize."""
    height, width = values.shape
    if (height, width) == (side, side):
        return values
    rows, columns = (np.arange(side) * length // side for length in (height, width))
    return values[rows[:, None], columns[None, :]]
