"""Which lessons a step holds: drawn by the weights of tasks, every lesson once before any comes again.

A pure function of the seed, so that a run that goes on sees what it would have seen. Letters: S steps, B rows a step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

WINDOW = 16  # steps whose rows are sorted by length together


def schedule(
    places: Mapping[str, npt.NDArray[np.int64]],
    lengths: npt.NDArray[np.int64],
    weights: Mapping[str, float],
    *,
    steps: int,
    batch: int,
    seed: int,
    group_lengths: bool,
) -> npt.NDArray[np.int64]:
    """(S, B) numbers of lessons; `places` are those of each task, `lengths` tell how long each lesson is.

    With `group_lengths` rows of about the same length share a step. Raises ValueError for a task without lessons.
    """
    lacking = [task for task in weights if task not in places]
    if lacking:
        raise ValueError(f"no lesson for {', '.join(lacking)}")
    rng = np.random.default_rng([seed, 4])
    names = list(weights)
    share = np.array([weights[name] for name in names], float)
    drawn = rng.choice(len(names), steps * batch, p=share / share.sum())
    rows = np.empty(steps * batch, np.int64)
    for number, name in enumerate(names):
        drawn_at = np.flatnonzero(drawn == number)
        rows[drawn_at] = _in_turn(places[name], len(drawn_at), rng)
    grid = rows.reshape(steps, batch)
    return _by_length(grid, lengths, rng) if group_lengths else grid


def _in_turn(found: npt.NDArray[np.int64], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """So many of them, in a new order each time all were seen."""
    rounds = [rng.permutation(found) for _ in range(-(-count // len(found)))]
    return np.concatenate(rounds)[:count] if rounds else found[:0]


def _by_length(
    grid: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    done = grid.copy()
    for start in range(0, len(grid), WINDOW):
        part = grid[start : start + WINDOW].ravel()
        ordered = part[np.argsort(lengths[part], kind="stable")].reshape(-1, grid.shape[1])
        done[start : start + WINDOW] = ordered[rng.permutation(len(ordered))]
    return done
