"""Sprites from emoji: which code points draw each class, and how each style is read.

Every style draws every code point of a class, so that a class has the same variants in each.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.errors import InputError
from crab_core.optional import need
from crab_core.world.build_bank.sources import SYSTEM_FONTS, Drawings, check, fetch

SPRITE_PX = 128
RASTER_PX = 512
NOTO_PX = 109  # the one size of the bitmaps in Noto Color Emoji
FAINT = 8  # alpha below this is no part of the drawing

# class -> {code point: its file name in the style that is sorted by name}
GLYPHS: Mapping[str, Mapping[str, str]] = {
    "guitar": {"1f3b8": "guitar"},
    "violin": {"1f3bb": "violin"},
    "trumpet": {"1f3ba": "trumpet"},
    "saxophone": {"1f3b7": "saxophone"},
    "piano": {"1f3b9": "musical-keyboard"},
    "accordion": {"1fa97": "accordion"},
    "banjo": {"1fa95": "banjo"},
    "flute": {"1fa88": "flute"},
    "bell": {"1f514": "bell", "1f6ce": "bellhop-bell"},
    "drum": {"1f941": "drum", "1fa98": "long-drum"},
    "maracas": {"1fa87": "maracas"},
    "bird": {"1f426": "bird", "1f99c": "parrot", "1f424": "baby-chick"},
    "telephone": {"260e": "telephone", "1f4de": "telephone-receiver", "1f4f1": "mobile-phone"},
    "helicopter": {"1f681": "helicopter"},
    "applause": {"1f44f": "clapping-hands-default"},
    "wave": {"1f30a": "water-wave"},
    "person": {"1f469": "woman-default", "1f468": "man-default", "1f467": "girl-default", "1f466": "boy-default"},
    "siren": {"1f693": "police-car", "1f691": "ambulance", "1f692": "fire-engine"},
    "alarm": {"23f0": "alarm-clock"},
    "dog": {"1f415": "dog", "1f436": "dog-face"},
    "cat": {"1f408": "cat", "1f431": "cat-face"},
    "cow": {"1f404": "cow", "1f42e": "cow-face"},
    "bee": {"1f41d": "honeybee"},
    "frog": {"1f438": "frog"},
    "apple": {"1f34e": "red-apple", "1f34f": "green-apple"},
    "ball": {"26bd": "soccer-ball", "1f3c0": "basketball"},
    "tree": {"1f333": "deciduous-tree", "1f332": "evergreen-tree"},
    "book": {"1f4d5": "closed-book", "1f4d7": "green-book", "1f4d8": "blue-book"},
    "cup": {"2615": "hot-beverage"},
    "house": {"1f3e0": "house", "1f3e1": "house-with-garden"},
    "chair": {"1fa91": "chair"},
    "balloon": {"1f388": "balloon"},
}

Draw = Callable[[str, str], Any]  # (code point, file name) -> PIL.Image.Image in RGBA


def sprites(style: Drawings, folder: Path) -> dict[str, list[npt.NDArray[np.uint8]]]:
    """For each class its sprites, each (128, 128, 4) uint8 RGBA: cropped tightly, centred, straight alpha.

    `folder` takes what is fetched. Raises MissingExtra without Pillow or resvg, InputError if a drawing is missing.
    """
    draw = _reader(style, folder)
    return {name: [_sprite(draw(code, file)) for code, file in glyphs.items()] for name, glyphs in GLYPHS.items()}


def _reader(style: Drawings, folder: Path) -> Draw:
    if style.key == "noto":
        check(SYSTEM_FONTS / style.package, style.sha256)
        return _from_font(SYSTEM_FONTS / style.package)
    root = fetch(style.package, style.sha256, folder)
    files: Mapping[str, Callable[[str, str], Path]] = {
        "twemoji": lambda code, _: root / f"{code}.svg",
        "fluent": lambda _, file: root / "icons" / "flat" / f"{file}.svg",
        "fluent3d": lambda code, _: _with_selector(root / "assets" / f"{code}.webp"),
        "openmoji": lambda code, _: root / "color" / "svg" / f"{code.upper()}.svg",
    }
    place = files[style.key]
    return lambda code, file: _from_file(place(code, file))


def _with_selector(path: Path) -> Path:
    """The path, or the one whose code point is followed by the selector for coloured drawings."""
    return path if path.is_file() else path.with_stem(f"{path.stem}-fe0f")


def _from_font(path: Path) -> Draw:
    image = need("PIL.Image", extra="world", why="building the bank")
    canvas = need("PIL.ImageDraw", extra="world", why="building the bank")
    font = need("PIL.ImageFont", extra="world", why="building the bank").truetype(str(path), NOTO_PX)

    def draw(code: str, _: str) -> Any:
        page = image.new("RGBA", (2 * NOTO_PX, 2 * NOTO_PX), (0, 0, 0, 0))
        canvas.Draw(page).text((30, 30), chr(int(code, 16)), font=font, embedded_color=True)
        return page

    return draw


def _from_file(path: Path) -> Any:
    image = need("PIL.Image", extra="world", why="building the bank")
    if not path.is_file():
        raise InputError(f"the style has no drawing '{path.name}'", hint="Choose another code point in GLYPHS.")
    if path.suffix != ".svg":
        return image.open(path).convert("RGBA")
    resvg = need("resvg_py", extra="world", why="building the bank")
    png = resvg.svg_to_bytes(svg_path=str(path), width=RASTER_PX, height=RASTER_PX, skip_system_fonts=True)
    return image.open(io.BytesIO(bytes(png))).convert("RGBA")


def _sprite(drawing: Any) -> npt.NDArray[np.uint8]:
    """Cropped to what is seen, its longer side 128 px, centred; Pillow resizes with alpha taken into account."""
    box = drawing.getchannel("A").point(lambda alpha: 255 * (alpha >= FAINT)).getbbox()
    if box is None:
        raise InputError("a drawing is empty", hint="Choose another code point in GLYPHS.")
    seen = drawing.crop(box)
    scale = SPRITE_PX / max(seen.size)
    width, height = (max(1, round(side * scale)) for side in seen.size)
    pixels = np.asarray(seen.resize((width, height), resample=1), np.uint8)  # 1: Lanczos
    sprite = np.zeros((SPRITE_PX, SPRITE_PX, 4), np.uint8)
    top, left = (SPRITE_PX - height) // 2, (SPRITE_PX - width) // 2
    sprite[top : top + height, left : left + width] = pixels
    sprite[sprite[..., 3] == 0] = 0
    return sprite


def png(sprite: npt.NDArray[np.uint8]) -> bytes:
    """The sprite as PNG bytes."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sprite, cv2.COLOR_RGBA2BGRA), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return encoded.tobytes()
