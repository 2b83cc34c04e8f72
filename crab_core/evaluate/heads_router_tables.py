"""Tables about single routers: how decided they are, on what their choice depends, what it tells about the task.

Beside each number stands that of routers at their random start, which hear the same inputs: what training added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crab_core.engine.heads_routing import Routing, routing_of
from crab_core.engine.heads_row import ALL, HeadRow, router_shares
from crab_core.evaluate.bootstrap import Score
from crab_core.evaluate.heads import Interval, mean_by_task
from crab_core.evaluate.heads_routers import router_specialisation
from crab_core.evaluate.report import Line, Table
from crab_core.families._base import HeadsView, Routes

KINDS = ("all", "wording", "video", "image", "audio", "question", "written")
MEASURES = {
    "entropy": "entropy of a token's shares",
    "token": "told by the token",
    "kind": "told by the token's kind",
}
FRESH = "random start"


@dataclass(frozen=True, slots=True)
class Heard:
    """What the routers said while one answer was written, and what fresh ones would have said."""

    clip: str
    task: str
    routes: Routes
    fresh: Routes


def router_tables(heard: Sequence[Heard]) -> tuple[Table, ...]:
    """How the routers choose, and the specialisation of each; tables without lines for one head."""
    return _choices(heard), _specialisation(heard)


def likeness(inside: HeadsView) -> dict[str, str]:
    """How alike the heads' matrices are, by projection: the mean over layers and pairs of heads; empty for one head."""
    alike = inside.alike()
    if not alike.pairs:
        return {}
    projections = list(dict.fromkeys(name.rpartition(".")[2] for name in alike.routers))
    of = np.array([projections.index(name.rpartition(".")[2]) for name in alike.routers])

    def told(values: Sequence[float] | np.ndarray[Any, Any], digits: int) -> str:
        means = [float(np.nanmean(np.asarray(values)[of == at])) for at in range(len(projections))]
        return ", ".join(
            f"{name.removesuffix('_proj')} {mean:.{digits}f}" for name, mean in zip(projections, means, strict=True)
        )

    return {
        "cosine of two heads' B (copies 1, strangers 0)": told(alike.cosine, 2),
        "linear CKA of two heads' B": f"{told(alike.cka, 2)}; of random ones {told(alike.chance_cka, 2)}",
        "principal angle of two heads' B, degrees": (
            f"{told(alike.angles_deg, 0)}; of random ones {told(alike.chance_angles_deg, 0)}"
        ),
    }


def _choices(heard: Sequence[Heard]) -> Table:
    """Bits: the mean over routers, then each router."""
    lines: list[Line] = []
    pairs = [(one.clip, routing_of(one.routes), routing_of(one.fresh)) for one in heard]
    if pairs and pairs[0][1].most:
        names = _routers(heard[0].routes)
        for measure, told in MEASURES.items():
            mine, fresh = (_means([(clip, some[at]) for clip, *some in pairs], measure) for at in (0, 1))
            for name, score, other in zip(("mean of all routers", *names), mine, fresh, strict=True):
                lines.append(Line(f"{told}, {name}", score, {FRESH: other}))
        title = f"How the routers choose: bits of {pairs[0][1].most:.2f}"
        return Table(title, tuple(lines))
    return Table("How the routers choose", ())


def _means(given: Sequence[tuple[str, Routing]], measure: str) -> list[Score]:
    """The mean over routers, then each of them; 95 % intervals by clip."""
    rows = []
    for clip, routing in given:
        values = getattr(routing, measure).ravel()
        values = values[~np.isnan(values)]
        rows.append((clip, ALL, [float(values.mean()), *values.tolist()]))
    (found,) = mean_by_task(rows)
    return [_score(bar, found.rows, found.clips) for bar in found.heads]


def _routers(routes: Routes) -> list[str]:
    """Names in the order of the layers and projections of a table, where there is a router."""
    from crab_core.engine.heads_maps import by_place

    layers, projections, there = by_place(routes.routers, np.ones(len(routes.routers), np.float32))
    return [
        f"layer {layer} {name.removesuffix('_proj')}"
        for layer, row in zip(layers, there, strict=True)
        for name, is_there in zip(projections, row, strict=True)
        if is_there == 1
    ]


def _specialisation(heard: Sequence[Heard]) -> Table:
    """Thousandths of a bit that a head tells about the task, mean over routers."""
    lines = []
    mine = [_row(one, one.routes) for one in heard]
    fresh = [_row(one, one.fresh) for one in heard]
    for kind in KINDS:
        found, other = router_specialisation(mine, kind), router_specialisation(fresh, kind)
        if found is None or other is None:
            continue
        rows = [row for row in mine if kind in row.by_router]
        size = len(rows), len({row.clip for row in rows})
        beside: Mapping[str, Interval] = {
            "tasks dealt at random": Interval(found.chance, found.chance, found.chance),
            FRESH: other.bits,
        }
        name, most = found.best
        told = name.removeprefix("model.layers.").removesuffix("_proj")
        lines.append(
            Line(
                f"{kind} tokens, thousandths of a bit (of {1000 * found.most:.0f}), p {found.p:.3f}, "
                f"at best {1000 * most:.0f} ({told})",
                _score(_thousandths(found.bits), *size),
                {label: _score(_thousandths(bar), *size) for label, bar in beside.items()},
            )
        )
    return Table("Specialisation, router by router: what a router's head tells about the task", tuple(lines))


def _row(one: Heard, routes: Routes) -> HeadRow:
    shares = {ALL: tuple(routes.shares.mean(0).tolist())}
    by_router = router_shares(routes, KINDS)
    return HeadRow(one.clip, one.task, None, "", "", "used", shares, routers=routes.routers, by_router=by_router)


def _thousandths(bar: Interval) -> Interval:
    return Interval(1000 * bar.value, 1000 * bar.low, 1000 * bar.high)


def _score(bar: Interval, rows: int, clips: int) -> Score:
    return Score(bar.value, bar.low, bar.high, rows, clips)
