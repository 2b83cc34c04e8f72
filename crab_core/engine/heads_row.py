"""One line about the heads for one answer: what is kept of each clip when many are looked at.

No maps and no pictures: the mean shares by kind of token and, if asked for, what silencing each head costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from crab_core.engine.heads_maps import by_kind

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    import numpy.typing as npt

    from crab_core.engine.heads import Captured
    from crab_core.engine.heads_tokens import Token
    from crab_core.families._base import Routes

SCHEMA = "crab.heads-row/2"
ALL = "all"  # the kind of token that stands for every position
WRITTEN = ("reasoning", "format", "answer")


@dataclass(frozen=True, slots=True)
class HeadRow:
    """How the heads shared one answer.

    `clip` names the answer's row and clip; several answers about one file have its `path` in common.
    `shares` maps a kind of token (`all`, `video`, `question`, `answer`, ...) to the heads' mean shares, sum 1.
    `cost` is how much less likely the model's own text becomes without each head, and at the end without all of them:
    natural logarithm of the probability a token, above 0 where the head helped. It is empty if nothing was silenced
    or written. `even_cost` is the same with all heads and every share even, None if that was not tried.

    `routers` names the routers; `by_router` maps `all` and `written` to their mean shares (R, H), empty where nothing
    was captured. A number of a head means something within one router only.
    """

    clip: str
    task: str
    question: str | None
    answer: str
    raw_text: str
    audio: str
    shares: Mapping[str, tuple[float, ...]]
    cost: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    even_cost: float | None = None
    routers: tuple[str, ...] = ()
    by_router: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    path: str = ""

    @property
    def source(self) -> str:
        """What answers about one clip have in common."""
        return self.path or self.clip

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return len(self.shares[ALL])

    def to_dict(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> HeadRow:
        """The row that `to_dict` wrote; raises ValueError for anything else."""
        values = {name: value for name, value in document.items() if name != "schema"}
        if document.get("schema") != SCHEMA or set(values) != set(cls.__dataclass_fields__):
            raise ValueError(f"no row of {SCHEMA!r}")
        shares = {str(kind): tuple(map(float, some)) for kind, some in values["shares"].items()}
        if ALL not in shares or len({len(some) for some in shares.values()}) != 1:
            raise ValueError("a row needs shares of all tokens, and the same heads everywhere")
        by_router = {kind: tuple(tuple(map(float, one)) for one in some) for kind, some in values["by_router"].items()}
        if any(len(some) != len(values["routers"]) for some in by_router.values()):
            raise ValueError("a row needs the shares of each of its routers")
        values |= {"routers": tuple(values["routers"]), "by_router": by_router}
        values |= {"shares": shares, "cost": tuple(map(float, values["cost"])), "notes": tuple(values["notes"])}
        return cls(**values)


def head_row(captured: Captured, *, ablate: bool = True) -> HeadRow:
    """The row of an answer whose routing was captured; `ablate` also silences each head in turn."""
    result = captured.result
    cost, even_cost = _cost(captured) if ablate and captured.generated.token_ids else ((), None)
    return HeadRow(
        clip=result.id,
        task=result.task,
        question=result.question,
        answer=result.answer.text if result.answer is not None else "",
        raw_text=result.raw_text,
        audio=result.audio,
        shares=mean_shares(captured.tokens, captured.shares),
        cost=cost,
        notes=result.notes,
        even_cost=even_cost,
        routers=captured.routes.routers,
        by_router=router_shares(captured.routes, (ALL, "written")),
        path=str(captured.asked.request.clip),
    )


def mean_shares(tokens: Sequence[Token], shares: npt.NDArray[np.float32]) -> dict[str, tuple[float, ...]]:
    """The heads' mean shares at every token, at each kind of token, and at all that was written; `shares` is (T, H)."""
    read = tokens[: len(shares)]
    found = {ALL: shares.mean(0), **by_kind(read, shares)}
    written = [place for place, token in enumerate(read) if token.kind in WRITTEN]
    if written:
        found["written"] = shares[written].mean(0)
    return {kind: tuple(_short(value) for value in values) for kind, values in found.items()}


def router_shares(routes: Routes, kinds: Sequence[str]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Each router's mean shares (R, H) at the kinds of position that occur; `all` is every position."""
    found = {kind: routes.by_kind[:, at] for at, kind in enumerate(routes.kinds) if routes.counts[at]}
    found[ALL] = routes.mean(routes.by_kind)
    return {
        kind: tuple(tuple(_short(value) for value in one) for one in found[kind]) for kind in kinds if kind in found
    }


def _cost(captured: Captured) -> tuple[tuple[float, ...], float | None]:
    """Nats a token that the text loses without each head and without all, and with every share even."""
    inside = captured.asked.inside
    everyone = range(inside.heads)
    silenced = [{head} for head in everyone] if inside.heads > 1 else []
    kept = [[head for head in everyone if head not in gone] for gone in (*silenced, set(everyone))]
    whole = _likely(captured)

    def lost(changed: AbstractContextManager[None]) -> float:
        with changed:
            return _short(whole - _likely(captured))

    return tuple(lost(inside.only(some)) for some in kept), lost(inside.rerouted("even")) if silenced else None


def _likely(captured: Captured) -> float:
    """The logarithm of the probability of the text, a token."""
    asked, ids = captured.asked, captured.generated.token_ids
    return asked.inside.log_probability(asked.encoded, asked.prompt, ids) / len(ids)


def _short(value: float) -> float:
    """Six digits: a row read from its file is the row that was written."""
    return round(float(value), 6)
