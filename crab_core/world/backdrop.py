"""What is behind everything: patterns of two near colours with a little grain, larger than the frame, drifting slowly.

A pattern is a function of where it is, (S, S) float32 in 0..1, and keeps its shapes whatever the frame's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.world.spec import Backdrop

Map = npt.NDArray[np.float32]
Pattern = Callable[[np.random.Generator, Map, Map], Map]

OVERHANG = 1.2  # side of the canvas over the side of the frame
CONTRAST = 65  # most that the two colours differ in a channel, of 255


class Drift:
    """A window of `size` pixels that wanders over a canvas."""

    def __init__(self, canvas: npt.NDArray[np.uint8], size: int, seed: int) -> None:
        self._canvas, self._size, self._start = canvas, size, seed % 7
        self._reach = (canvas.shape[0] - size) / 2

    def at(self, time_s: float) -> npt.NDArray[np.uint8]:
        """The view (size, size, 3) at a time."""
        left = int(self._reach * (1 + np.sin(0.15 * time_s + self._start)))
        top = int(self._reach * (1 + np.cos(0.12 * time_s + self._start)))
        return self._canvas[top : top + self._size, left : left + self._size]


def paint(backdrop: Backdrop, size: int) -> npt.NDArray[np.uint8]:
    """The canvas behind a frame of `size` pixels, (S, S, 3) uint8 with S about `OVERHANG * size`."""
    rng = np.random.default_rng(backdrop.seed)
    vivid = rng.uniform(40, 215, 3)
    first = vivid.mean() + (vivid - vivid.mean()) * rng.uniform(0.15, 1)
    second = np.clip(first + rng.uniform(-CONTRAST, CONTRAST, 3), 20, 235)
    grain_strength = rng.uniform(1, 5)
    side = round(size * OVERHANG)
    axis = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / np.float32(side)
    across, down = np.broadcast_to(axis, (side, side)), np.broadcast_to(axis[:, None], (side, side))
    share = np.clip(PATTERNS[backdrop.kind](rng, across, down), 0, 1)[..., None]
    grain = rng.standard_normal((side, side, 1), dtype=np.float32) * np.float32(grain_strength)
    colours = first.astype(np.float32) + share * (second - first).astype(np.float32) + grain
    return np.clip(colours, 0, 255).astype(np.uint8)


def _slope(rng: np.random.Generator, across: Map, down: Map) -> Map:
    angle = rng.uniform(0, 2 * np.pi)
    return np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * down


def _gradient(rng: np.random.Generator, across: Map, down: Map) -> Map:
    slope = _slope(rng, across, down)
    return (slope - slope.min()) / max(float(np.ptp(slope)), 1e-6)


def _clouds(rng: np.random.Generator, across: Map, down: Map) -> Map:
    coarse = _smooth(rng, int(rng.integers(3, 9)), across.shape[0])
    return 0.7 * coarse + 0.3 * _smooth(rng, 24, across.shape[0])


def _stripes(rng: np.random.Generator, across: Map, down: Map) -> Map:
    slope = _slope(rng, across, down)
    return (np.sin(slope * np.float32(rng.uniform(15, 60))) > 0).astype(np.float32) * np.float32(0.7)


def _blobs(rng: np.random.Generator, across: Map, down: Map) -> Map:
    side = across.shape[0]
    canvas = np.zeros((side, side), np.float32)
    for x, y, radius, strength in rng.uniform((0, 0, 0.07, 0.2), (1, 1, 0.25, 1), (8, 4)):
        cv2.circle(canvas, (int(x * side), int(y * side)), int(radius * side), float(strength), -1)
    return canvas


def _room(rng: np.random.Generator, across: Map, down: Map) -> Map:
    return np.where(down > rng.uniform(0.5, 0.8), np.float32(0.8), np.float32(0)) + np.float32(0.2) * across


def _checker(rng: np.random.Generator, across: Map, down: Map) -> Map:
    fields = np.float32(rng.integers(4, 10))
    return (np.floor(across * fields) + np.floor(down * fields)) % 2 * np.float32(0.6)


def _plain(rng: np.random.Generator, across: Map, down: Map) -> Map:
    return np.zeros(across.shape, np.float32)


def _rings(rng: np.random.Generator, across: Map, down: Map) -> Map:
    x, y, rate = rng.uniform((0, 0, 20), (1, 1, 60)).astype(np.float32)
    return (np.sin(np.hypot(across - x, down - y) * rate) > 0).astype(np.float32) * np.float32(0.7)


def _bricks(rng: np.random.Generator, across: Map, down: Map) -> Map:
    rows = np.float32(rng.integers(6, 12))
    shifted = across * rows / 2 + 0.5 * (np.floor(down * rows) % 2)
    return ((shifted % 1 < 0.06) | ((down * rows) % 1 < 0.1)).astype(np.float32)


def _fractal(rng: np.random.Generator, across: Map, down: Map) -> Map:
    total = np.zeros(across.shape, np.float32)
    for octave in range(2, 7):
        total += _smooth(rng, 2**octave, across.shape[0]) / np.float32(2 ** (0.6 * octave))
    return (total - total.min()) / max(float(np.ptp(total)), 1e-6)


def _smooth(rng: np.random.Generator, cells: int, side: int) -> Map:
    field = rng.random((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(field, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {
        "gradient": _gradient,
        "clouds": _clouds,
        "stripes": _stripes,
        "blobs": _blobs,
        "room": _room,
        "checker": _checker,
        "plain": _plain,
        "rings": _rings,
        "bricks": _bricks,
        "fractal": _fractal,
    }
)
