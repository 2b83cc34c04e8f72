"""A score with its 95 % interval, by drawing whole clips with replacement.

Questions on one clip stand or fall together, so clips are drawn, not questions. A metric says what each row adds to
a few counts; the counts of a draw are sums, and the score is one formula of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from crab_core.errors import UsageError

Formula = Literal["share", "f1", "classes", "present classes", "bleu"]
Floats = npt.NDArray[np.float64]
DRAWS = 1000
_WIDTH: dict[Formula, int] = {"share": 2, "f1": 3, "bleu": 10}


@dataclass(frozen=True)
class Counts:
    """What each row adds: `table` (rows, 2) hits and cases for a share, (rows, 3) true positives, false positives and
    false negatives for an F1; `clips` names the clip of each row.

    `classes` is a mean over C classes of sums over cases, (rows, 2 C), in which a class without cases counts as 0;
    `present classes` leaves such classes out. `bleu` is (rows, 10): matched n-grams of 1 to 4 words, told n-grams, told
    words, words of the closest reference.
    """

    formula: Formula
    clips: tuple[str, ...]
    table: Floats

    def __post_init__(self) -> None:
        if not self.clips:
            raise UsageError("there is nothing to score: no rows were given")
        width = _WIDTH.get(self.formula, self.table.shape[-1] // 2 * 2)
        if self.table.shape != (len(self.clips), width):
            raise ValueError(f"a {self.formula} of {len(self.clips)} rows cannot have a table {self.table.shape}")

    @property
    def value(self) -> float:
        """The score of all rows."""
        return float(_apply(self.formula, self.table.sum(axis=0)))

    def by_clip(self) -> Floats:
        """The table with the rows of each clip added up, (clips, counts)."""
        names, owner = np.unique(np.array(self.clips), return_inverse=True)
        total = np.zeros((len(names), self.table.shape[1]))
        np.add.at(total, owner, self.table)
        return total


@dataclass(frozen=True, slots=True)
class Score:
    """A number between 0 and 1, the ends of its 95 % interval, and how many rows and clips it stands on."""

    value: float
    low: float
    high: float
    rows: int
    clips: int


def counts(formula: Formula, clips: Sequence[str], table: Sequence[Sequence[float]]) -> Counts:
    """`Counts` of plain lists; raises UsageError if they are empty."""
    return Counts(formula, tuple(clips), np.array(table, dtype=np.float64))


def score(given: Counts, draws: int = DRAWS, seed: int = 0) -> Score:
    """The score with its 95 % percentile interval over `draws` draws of clips; the same seed gives the same ends."""
    per_clip = given.by_clip()
    drawn = _apply(given.formula, _draws(len(per_clip), draws, seed) @ per_clip)  # (draws, clips) @ (clips, counts)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Score(given.value, float(low), float(high), len(given.clips), len(per_clip))


def _apply(formula: Formula, sums: Floats) -> Floats:
    """The score of sums (..., counts) -> (...). Nothing to find and nothing told is an F1 of 1, as in LLP's scorer."""
    if formula == "share":
        return np.asarray(sums[..., 0] / sums[..., 1])
    if formula == "bleu":
        return _bleu(sums)
    if formula != "f1":
        return _over_classes(sums, only_present=formula == "present classes")
    hits, wrong = 2 * sums[..., 0], sums[..., 1] + sums[..., 2]
    return np.where(hits + wrong > 0, hits / np.maximum(hits + wrong, 1), 1.0)


def _over_classes(sums: Floats, *, only_present: bool) -> Floats:
    """The mean over classes of (..., 2 C) -> (...), 0 if no class has a case."""
    classes = sums.shape[-1] // 2
    total, cases = sums[..., :classes], sums[..., classes:]
    each = np.where(cases > 0, total / np.maximum(cases, 1), 0.0)  # (..., C)
    return np.asarray(each.sum(axis=-1) / (np.maximum((cases > 0).sum(axis=-1), 1) if only_present else classes))


def _bleu(sums: Floats) -> Floats:
    """BLEU-4 without smoothing of (..., 10) -> (...); 0 if no 4 words in a row match."""
    matched, told, words, reference = sums[..., :4], sums[..., 4:8], sums[..., 8], sums[..., 9]
    precision = np.prod(matched / np.maximum(told, 1), axis=-1) ** 0.25
    return np.asarray(precision * np.exp(np.minimum(0.0, 1.0 - reference / np.maximum(words, 1))))


@lru_cache(maxsize=8)
def _draws(clips: int, draws: int, seed: int) -> Floats:
    """How often each draw took each clip, (draws, clips)."""
    even = np.full(clips, 1 / clips)
    return np.random.default_rng(seed).multinomial(clips, even, size=draws).astype(np.float64)
