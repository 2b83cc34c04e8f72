"""Many small decisions from one generator, cheaply: numbers are drawn a block at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")
_BLOCK = 256


class Dice:
    """Coins, picks and shuffles; the same generator state gives the same decisions.

    It draws blocks of 256 numbers from the generator, so do not count on the generator's state afterwards.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._numbers = _numbers(rng)

    def share(self) -> float:
        """A number from 0 up to, but without, 1."""
        return next(self._numbers)

    def coin(self, share: float = 0.5) -> bool:
        """True with that probability."""
        return next(self._numbers) < share

    def pick(self, options: Sequence[_T]) -> _T:
        """One of them, all alike; raises IndexError if there are none."""
        return options[int(next(self._numbers) * len(options))]

    def shuffled(self, options: Sequence[_T]) -> list[_T]:
        """All of them in random order."""
        keys = [next(self._numbers) for _ in options]
        return [options[index] for index in sorted(range(len(keys)), key=keys.__getitem__)]


def _numbers(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(_BLOCK).tolist()
