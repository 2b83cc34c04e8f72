"""Which head serves which task: mean shares, what silencing costs, and how much a head tells about the task.

Rows are those of `engine/heads_row.py`, one a clip and task. Intervals hold 95 % of draws of whole clips, since the
answers about one clip stand or fall together. Letters: R rows, C clips, T tasks, H heads, D draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crab_core.engine.heads_row import ALL, HeadRow

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DRAWS = 1000
ENDS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What a task asks of each head: one interval a head, over `rows` answers about `clips` clips."""

    task: str
    clips: int
    heads: tuple[Interval, ...]
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Specialisation:
    """Mutual information of head and task in bits: 0 if every task uses the heads alike, `most` if each has its own.

    Tasks count alike. `chance` is what tasks dealt out at random give on average, and `chance_high` the value under
    which 95 % of those lie; `p` is the share of them that reach `bits` (never 0: the real deal counts as one).
    """

    bits: Interval
    most: float
    chance: float
    chance_high: float
    p: float

    @property
    def is_beyond_chance(self) -> bool:
        """True if fewer than 1 in 20 random deals reach it."""
        return self.p < 0.05


def profiles(rows: Sequence[HeadRow], kind: str = ALL, seed: int = 0) -> list[Profile]:
    """Each task's mean share of each head, at tokens of a kind."""
    return mean_by_task([(row.source, row.task, row.shares[kind]) for row in rows if kind in row.shares], seed)


def costs(rows: Sequence[HeadRow], seed: int = 0) -> list[Profile]:
    """What each task's texts lose without each head and, last, without all: nats a token."""
    return mean_by_task([(row.source, row.task, row.cost) for row in rows if row.cost], seed)


def even_costs(rows: Sequence[HeadRow], seed: int = 0) -> list[Profile]:
    """What each task's texts lose, nats a token, when all heads count alike whatever the routers say: one value."""
    return mean_by_task([(row.source, row.task, [row.even_cost]) for row in rows if row.even_cost is not None], seed)


def specialisation(rows: Sequence[HeadRow], kind: str = ALL, seed: int = 0) -> Specialisation | None:
    """How far heads and tasks go together; None with one task, one head, or no token of that kind."""
    chosen = [row for row in rows if kind in row.shares]
    tasks = {row.task for row in chosen}
    if len(tasks) < 2 or chosen[0].heads < 2:
        return None
    table = TaskTable.of([(row.source, row.task, row.shares[kind]) for row in chosen])
    bits = information(table.means())
    drawn = information(table.drawn(seed))
    dealt = information(dealt_tasks(chosen, np.array([row.shares[kind] for row in chosen], float), seed))
    low, high = np.quantile(drawn[np.isfinite(drawn)], ENDS)
    return Specialisation(
        bits=Interval(float(bits), float(low), float(high)),
        most=float(np.log2(min(len(tasks), chosen[0].heads))),
        chance=float(dealt.mean()),
        chance_high=float(np.quantile(dealt, 0.95)),
        p=float((1 + (dealt >= bits - 1e-12).sum()) / (1 + len(dealt))),
    )


Given = Sequence[tuple[str, str, Sequence[float]]]  # clip, task, values


@dataclass(frozen=True)
class TaskTable:
    """Means by task of some values, and what draws of whole clips give: sums (C, T, H) and counts (C, T)."""

    tasks: tuple[str, ...]
    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, given: Given) -> TaskTable:
        """The table of triples: clip, task and values."""
        tasks = tuple(dict.fromkeys(task for _, task, _ in given))
        clips = {clip: number for number, clip in enumerate(dict.fromkeys(clip for clip, _, _ in given))}
        sums = np.zeros((len(clips), len(tasks), len(given[0][2])))
        counts = np.zeros(sums.shape[:2])
        for clip, task, values in given:
            place = clips[clip], tasks.index(task)
            sums[place] += values
            counts[place] += 1
        return cls(tasks, sums, counts)

    def means(self) -> Floats:
        """(T, H): each task's mean over all of its rows."""
        return np.asarray(self.sums.sum(0) / self.counts.sum(0)[:, None])

    def drawn(self, seed: int, draws: int = DRAWS) -> Floats:
        """(D, T, H) of clips drawn with replacement; NaN for a task of which a draw has no clip."""
        clips = len(self.sums)
        weights = np.random.default_rng(seed).multinomial(clips, np.full(clips, 1 / clips), size=draws)  # (D, C)
        counts = weights @ self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.einsum("dc,cth->dth", weights, self.sums) / counts[..., None])


def mean_by_task(given: Given, seed: int = 0) -> list[Profile]:
    """The mean of each of some values by task, of triples (clip, task, values)."""
    if not given:
        return []
    table = TaskTable.of(given)
    means, ends = table.means(), np.nanquantile(table.drawn(seed), ENDS, axis=0)  # (T, H), (2, T, H)
    return [
        Profile(
            task,
            int((table.counts[:, number] > 0).sum()),
            tuple(
                Interval(float(value), float(low), float(high))
                for value, low, high in zip(means[number], ends[0, number], ends[1, number], strict=True)
            ),
            int(table.counts[:, number].sum()),
        )
        for number, task in enumerate(table.tasks)
    ]


def information(shares: Floats) -> Floats:
    """Bits that the head tells about the task, of shares (..., T, H) with the tasks counted alike."""
    shares = shares / shares.sum(-1, keepdims=True)
    mean = shares.mean(-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        terms = np.where(shares > 0, shares * np.log2(shares / mean), 0.0)
    found = np.maximum(terms.sum(-1).mean(-1), 0.0)
    return np.where(np.isnan(shares).any((-2, -1)), np.nan, found)


def dealt_tasks(rows: Sequence[HeadRow], values: Floats, seed: int, draws: int = DRAWS) -> Floats:
    """(D, T, ...) means of values (R, ...) by task, with the tasks dealt out at random.

    They change between the answers about one clip where clips have several tasks, else between clips.
    """
    random = np.random.default_rng([seed, 1])
    names = list(dict.fromkeys(row.task for row in rows))
    tasks = np.array([names.index(row.task) for row in rows])
    by_clip: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_clip.setdefault(row.source, []).append(number)
    groups = [numbers for numbers in by_clip.values() if len(set(tasks[numbers])) > 1] or [list(range(len(rows)))]
    dealt = np.tile(tasks, (draws, 1))  # (D, R)
    for numbers in groups:
        dealt[:, numbers] = random.permuted(dealt[:, numbers], axis=1)
    chosen = np.stack([dealt == number for number in range(len(names))], axis=1).astype(float)  # (D, T, R)
    return np.asarray(chosen @ values / chosen.sum(-1, keepdims=True))


def by_task(rows: Sequence[HeadRow], kind: str = ALL) -> Mapping[str, Floats]:
    """The points of a scatter: shares (clips, H) of each task, the answers about one clip taken together."""
    found: dict[str, dict[str, list[Sequence[float]]]] = {}
    for row in rows:
        if kind in row.shares:
            found.setdefault(row.task, {}).setdefault(row.source, []).append(row.shares[kind])
    return {task: np.array([np.mean(some, axis=0) for some in clips.values()]) for task, clips in found.items()}
