"""How much single routers tell about the task, and how they choose: what shares averaged over routers hide.

The number of a head means something within one router only, so that the mean over routers of their shares looks more
alike from task to task than any router is. Rows are those of `engine/heads_row.py`.
Letters: R routers, T tasks, H heads, D draws, N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crab_core.engine.heads_row import ALL, HeadRow
from crab_core.evaluate.heads import ENDS, Interval, TaskTable, dealt_tasks, information

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

DRAWS = 200  # every draw is of all routers


@dataclass(frozen=True, slots=True)
class RouterSpecialisation:
    """Mutual information of head and task in each router, bits: `each` by `routers`, `bits` their mean.

    `chance` is the mean with the tasks dealt out at random, `p` the share of deals that reach `bits`.
    """

    routers: tuple[str, ...]
    each: tuple[float, ...]
    bits: Interval
    most: float
    chance: float
    p: float

    @property
    def best(self) -> tuple[str, float]:
        """The router that tells most, and its bits."""
        at = int(np.argmax(self.each))
        return self.routers[at], self.each[at]


def router_specialisation(rows: Sequence[HeadRow], kind: str = ALL, seed: int = 0) -> RouterSpecialisation | None:
    """How far the heads of single routers and tasks go together.

    None with one task, one head, or no router that was seen at tokens of that kind.
    """
    chosen = [row for row in rows if kind in row.by_router]
    if not chosen or len({row.task for row in chosen}) < 2 or chosen[0].heads < 2:
        return None
    heads, routers = chosen[0].heads, chosen[0].routers
    shares = np.array([row.by_router[kind] for row in chosen], float)  # (N, R, H)
    flat = shares.reshape(len(chosen), -1)
    table = TaskTable.of([(row.source, row.task, values.tolist()) for row, values in zip(chosen, flat, strict=True)])
    each = _by_router(table.means(), heads)  # (R,)
    drawn = _by_router(table.drawn(seed, DRAWS), heads).mean(-1)  # (D,)
    dealt = _by_router(dealt_tasks(chosen, flat, seed, DRAWS), heads).mean(-1)
    low, high = np.quantile(drawn[np.isfinite(drawn)], ENDS)
    bits = float(each.mean())
    return RouterSpecialisation(
        routers=routers,
        each=tuple(float(one) for one in each),
        bits=Interval(bits, float(low), float(high)),
        most=float(np.log2(min(len(table.tasks), heads))),
        chance=float(dealt.mean()),
        p=float((1 + (dealt >= bits - 1e-12).sum()) / (1 + len(dealt))),
    )


def _by_router(shares: Floats, heads: int) -> Floats:
    """Bits (..., R) of shares (..., T, R H)."""
    apart = shares.reshape(*shares.shape[:-1], -1, heads)  # (..., T, R, H)
    return information(np.moveaxis(apart, -2, -3))
