"""Text in pictures: the font that OpenCV brings, which knows most scripts and is the same on every machine."""

from __future__ import annotations

from functools import cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

PLAIN, BOLD = 420, 600
_CAPITAL = 0.7  # the height of a capital letter, of the size in pixels


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def text_width(text: str, px: int, weight: int = PLAIN) -> int:
    """How many pixels wide a line of text is."""
    return int(cv2.getTextSize((0, 0), text, (0, 0), _font(), px, weight)[2])


def fitted(text: str, px: int, width: int, weight: int = PLAIN) -> str:
    """The text, or as much of it as fits into the width with an ellipsis; empty if not even one letter does."""
    text = " ".join(text.split())
    if text_width(text, px, weight) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(text[:middle].rstrip() + "…", px, weight) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…" if low else ""


def write(
    picture: Picture,
    text: str,
    place: tuple[int, int, int, int],
    px: int,
    colour: Colour,
    weight: int = PLAIN,
    align: Literal["left", "middle", "right"] = "left",
) -> None:
    """Write a line into a place (x, y, width, height) of the picture, in the middle of its height, cut to fit."""
    x, y, width, height = place
    said = fitted(text, px, width, weight)
    if not said:
        return
    spare = width - text_width(said, px, weight)
    left = x + {"left": 0, "middle": spare // 2, "right": spare}[align]
    baseline = round(y + (height + _CAPITAL * px) / 2)
    cv2.putText(picture, said, (left, baseline), colour, _font(), px, weight)


def on(colour: Colour) -> Colour:
    """Black or white, whichever can be read better on the colour."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def clock(seconds: float, *, exact: bool = True) -> str:
    """`0:02.5`; from an hour on `1:02:03`; without tenths if not `exact`."""
    tenths = round(seconds * 10) if exact else round(seconds) * 10
    whole, tenth = divmod(tenths, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{text}.{tenth}" if exact and not hours else text
