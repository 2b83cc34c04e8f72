"""Masks of one moment as a PNG of 8 bits a pixel: what a pixel is stands in it as a number, its colour in the palette.

Numbers of semantic masks are AVSBench's classes, 0 the background, in AVSBench's colours; other masks are numbered from
1 in the order of their labels. Readers of data sets get the number, viewers show the colour.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from crab_core.render.lettering import Colour
from crab_core.types import Mask

MOST = 256
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def class_colours(count: int = 71) -> list[Colour]:
    """The colour of each class: bits 0, 1 and 2 of its number are the highest of red, green and blue, and so on."""
    return [_class_colour(index) for index in range(count)]


def index_picture(masks: Sequence[Mask], numbers: Mapping[str, int], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The masks of one moment as (H, W) numbers; where masks overlap, the smaller one is on top."""
    picture = np.zeros((size[1], size[0]), np.uint8)
    for mask in sorted(masks, key=lambda mask: -mask.area_px):
        if mask.area_px:
            picture[mask.pixels] = numbers[mask.label] if mask.class_index is None else mask.class_index
    return picture


def numbers_of(masks: Sequence[Mask]) -> dict[str, int]:
    """The number of each label: its class, or 1, 2, ... in the order in which labels come; at most 255."""
    numbers: dict[str, int] = {}
    for mask in masks:
        if mask.area_px and mask.label not in numbers:
            numbers[mask.label] = mask.class_index or min(len(numbers) + 1, MOST - 1)
    return numbers


def palette_png(picture: npt.NDArray[np.uint8], colours: Sequence[Colour]) -> bytes:
    """A PNG file of (H, W) numbers whose palette is `colours`; numbers without a colour are white."""
    entries = [*colours[:MOST], *[(255, 255, 255)] * (int(picture.max(initial=0)) + 1 - len(colours))]
    height, width = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture], axis=1)  # each row begins with its filter, none
    return (
        _SIGNATURE
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + _chunk(b"PLTE", b"".join(bytes(entry) for entry in entries))
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def _class_colour(index: int) -> Colour:
    channels = [0, 0, 0]
    for shift in range(7, -1, -1):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << shift
        index >>= 3
    return channels[0], channels[1], channels[2]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
