"""Does a map mean something? Hide what it calls relevant: the answer must become less likely than by chance.

For each medium, growing parts of its patches are hidden, once the most relevant first and several times at random. A
map that tells the truth lowers the log-probability of the answer faster than chance. Pictures are hidden by the mean
colour of their frame, sound by silence; a sound's bands are hidden together, all of a moment at a time.
Letters: S frames or windows, K patches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from crab_core.types import SAMPLE_RATE_HZ, Clip

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Hidden = npt.NDArray[np.bool_]

PARTS = (0.1, 0.25, 0.5)
DRAWS = 4


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Log-probabilities of the answer with parts of one medium hidden; `whole` is that with nothing hidden.

    `relevant` hides by the map, `random` is the mean of several draws; one value for each of `parts`.
    """

    medium: str
    whole: float
    parts: tuple[float, ...]
    relevant: tuple[float, ...]
    random: tuple[float, ...]

    @property
    def gain(self) -> float:
        """How much more is lost by the map than by chance, mean over the parts; a good map's is above 0."""
        return float(np.mean(self.random) - np.mean(self.relevant))


def faithfulness(
    clip: Clip, maps: Mapping[str, Floats], score: Callable[[Clip], float], seed: int = 0
) -> tuple[Faithfulness, ...]:
    """One check a medium of `maps` (H, S, rows, columns), heads summed; media without any relevance are left out.

    `score` gives the log-probability of the original answer about a changed clip.
    """
    whole = score(clip)
    return tuple(_check(clip, medium, one.sum(0), score, whole, seed) for medium, one in maps.items() if one.any())


def hide(clip: Clip, medium: str, hidden: Hidden) -> Clip:
    """The clip without the patches of `hidden`, (S, rows, columns) for `video` and (S, 1, columns) for `audio`."""
    return _without_pixels(clip, hidden) if medium == "video" else _without_sound(clip, hidden)


def _check(
    clip: Clip, medium: str, map_: Floats, score: Callable[[Clip], float], whole: float, seed: int
) -> Faithfulness:
    cells = map_ if medium == "video" else map_.sum(1, keepdims=True)
    random = np.random.default_rng(seed)
    by_map = np.argsort(-cells, axis=None, kind="stable")

    def curve(order: npt.NDArray[np.int64]) -> list[float]:
        return [score(hide(clip, medium, first_patches(order, part, cells.shape))) for part in PARTS]

    by_chance = np.mean([curve(random.permutation(cells.size)) for _ in range(DRAWS)], axis=0)
    return Faithfulness(medium, whole, PARTS, tuple(curve(by_map)), tuple(float(value) for value in by_chance))


def first_patches(order: npt.NDArray[np.int64], part: float, shape: tuple[int, ...]) -> Hidden:
    """True at the first part of the patches in an order, at least at one."""
    hidden = np.zeros(order.size, bool)
    hidden[order[: max(1, round(part * order.size))]] = True
    return hidden.reshape(shape)


def _without_pixels(clip: Clip, hidden: Hidden) -> Clip:
    frames = clip.frames.copy()
    down = np.arange(frames.shape[1]) * hidden.shape[1] // frames.shape[1]
    across = np.arange(frames.shape[2]) * hidden.shape[2] // frames.shape[2]
    for frame, cells in zip(frames, hidden, strict=True):
        frame[cells[np.ix_(down, across)]] = frame.mean((0, 1)).astype(np.uint8)
    return replace(clip, frames=frames)


def _without_sound(clip: Clip, hidden: Hidden) -> Clip:
    waveform, start = clip.waveform.copy(), 0
    for window, cells in zip(clip.sound_windows_s, hidden[:, 0], strict=True):
        length = round((window[1] - window[0]) * SAMPLE_RATE_HZ)
        part = waveform[start : start + length]
        part[cells[np.arange(len(part)) * len(cells) // length]] = 0
        start += length
    return replace(clip, waveform=waveform)
