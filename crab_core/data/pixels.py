"""Masks and maps of a data set as pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from crab_core.data.places import inside
from crab_core.data.sample import MOST_PIXELS, MaskRef
from crab_core.errors import InputError
from crab_core.types import Mask


def mask_pixels(mask: MaskRef, root: Path) -> npt.NDArray[np.bool_]:
    """The pixels of a mask (H, W); raises InputError for a picture that is missing, broken or out of the root."""
    if mask.rle is not None:
        return Mask.from_dict({"label": "", "time_s": 0.0, "rle": mask.rle}).pixels
    picture = read_picture(inside(root, mask.file or ""))
    return np.asarray(picture.reshape(*picture.shape[:2], -1).max(axis=-1) > 0)


def class_map(path: Path) -> npt.NDArray[np.int64]:
    """Class indices (H, W) of a grey or palette PNG; raises InputError for a picture in colours, or a bad file."""
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
        raise InputError(
            f"'{path}' is a picture in colours ({frame.format.name}), not of class indices",
            hint="Write class indices as 8-bit grey or palette PNG.",
        )
    plane = frame.planes[0]
    stored = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
    return stored[: frame.height, : frame.width].astype(np.int64)


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
