"""Builds the bank of the generated world from its sources: `python -m crab_core.world.build_bank -o FILE`.

Needs fluidsynth, espeak-ng, npm, the Debian packages that assets/LICENSES.md names, and the extra `world`. The same
sources give the same bank. Nothing that only uses the bank imports this package.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from crab_core.progress import Listener, Progress, ignore
from crab_core.world.bank import write_bank
from crab_core.world.build_bank.drawing import png, sprites
from crab_core.world.build_bank.recipes import sounds
from crab_core.world.build_bank.sources import (
    HELD_OUT_DRAWINGS,
    HELD_OUT_SOUNDS,
    TRAINING_DRAWINGS,
    TRAINING_SOUNDS,
    check,
)
from crab_core.world.build_bank.waves import Wave


def build(target: Path, *, held_out: bool = False, listen: Listener = ignore) -> None:
    """Writes the bank for training, or the one with the style and the font that only tests see.

    Raises InputError if a source is missing or another version, ResourceError if a program is missing or fails,
    MissingExtra if a Python package is.
    """
    styles = HELD_OUT_DRAWINGS if held_out else TRAINING_DRAWINGS
    fonts = HELD_OUT_SOUNDS if held_out else TRAINING_SOUNDS
    drawn: dict[str, dict[str, list[bytes]]] = {}
    played: dict[str, dict[str, list[Wave]]] = {}
    total = len(styles) + len(fonts)
    with tempfile.TemporaryDirectory() as folder:
        for style in styles:
            listen(Progress("bank", len(drawn), total, "sources", style.key))
            found = sprites(style, Path(folder))
            drawn[style.key] = {name: [png(sprite) for sprite in each] for name, each in found.items()}
    for font in fonts:
        listen(Progress("bank", len(drawn) + len(played), total, "sources", font.key))
        if font.path is not None:
            check(font.path, font.sha256)
        played[font.key] = {name: [np.clip(wave, -1, 1) for wave in each] for name, each in sounds(font).items()}
    write_bank(target, sprites=drawn, sounds=played)
    listen(Progress("bank", total, total, "sources"))
