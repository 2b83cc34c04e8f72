"""Everything that is said about the rows of a survey of heads, as plain JSON values for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crab_core.engine.heads_maps import by_place
from crab_core.engine.heads_row import HeadRow
from crab_core.evaluate.heads import by_task, costs, even_costs, profiles, specialisation
from crab_core.evaluate.heads_routers import RouterSpecialisation, router_specialisation


def statistics(rows: Sequence[HeadRow], seed: int = 0) -> dict[str, Any]:
    """Points, profiles, costs, and specialisation by kind of token: of mean shares, and of each router by itself."""
    kinds = list(dict.fromkeys(kind for row in rows for kind in row.shares))
    found = {kind: specialisation(rows, kind, seed=seed) for kind in kinds}
    in_routers = {kind: router_specialisation(rows, kind, seed=seed) for kind in kinds}
    return {
        "points": {task: points.round(6).tolist() for task, points in by_task(rows).items()},
        "profiles": [asdict(one) for one in profiles(rows, seed=seed)],
        "cost": [asdict(one) for one in costs(rows, seed=seed)],
        "even_cost": [asdict(one) for one in even_costs(rows, seed=seed)],
        "specialisation": {
            kind: {**asdict(one), "is_beyond_chance": one.is_beyond_chance} for kind, one in found.items() if one
        },
        "by_router": {kind: _placed(one) for kind, one in in_routers.items() if one},
    }


def _placed(found: RouterSpecialisation) -> dict[str, Any]:
    """The bits of each router by layer and projection."""
    import numpy as np

    layers, projections, each = by_place(found.routers, np.array(found.each, np.float32))
    table = [[None if np.isnan(value) else round(float(value), 5) for value in row] for row in each]
    told = {name: value for name, value in asdict(found).items() if name not in ("routers", "each")}
    return {**told, "best": found.best[1], "layers": layers, "projections": projections, "each": table}
