"""How the routers choose between heads: how decided they are, and what their choice depends on.

Three numbers a router, in bits. Its mean entropy: log2 H if every token's shares are even, 0 if each token has one
head. What the token tells about the head, and what the token's kind (a picture, a sound, the question, ...) tells:
mutual information, 0 if all tokens, or all kinds, have the same shares. Means over routers hide this, for the number of
a head in one layer has nothing to do with its number in another. Letters: R routers, K kinds, H heads.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crab_core.engine.heads_maps import by_place

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families._base import Routes

    Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Routing:
    """By layer and projection, bits: `entropy`, what a `token` and what its `kind` tells about the head.

    NaN where there is no router. `most` is log2 of the number of heads.
    """

    most: float
    entropy: Floats
    token: Floats
    kind: Floats

    def means(self) -> dict[str, float]:
        """The mean of each over all routers."""
        return {name: float(np.nanmean(getattr(self, name))) for name in ("entropy", "token", "kind")}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, None where there is no router."""
        tables = {name: values for name, values in asdict(self).items() if name != "most"}
        return {"most": round(self.most, 5), **{name: _plain(values) for name, values in tables.items()}}


def routing_of(routes: Routes) -> Routing:
    """The routing of one answer."""
    entropy = routes.mean(routes.entropy_bits)  # (R,)
    whole = entropy_bits(routes.mean(routes.by_kind))  # (R,)
    by_kind = routes.mean(entropy_bits(routes.by_kind))

    def placed(values: Floats) -> Floats:
        return by_place(routes.routers, values)[2]

    return Routing(
        most=float(np.log2(routes.shares.shape[-1])),
        entropy=placed(entropy),
        token=placed(np.maximum(whole - entropy, 0)),
        kind=placed(np.maximum(whole - by_kind, 0)),
    )


def entropy_bits(shares: Floats) -> Floats:
    """Of shares (..., H) that make 1: (...); NaN where they are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(shares == 0, 0, -shares * np.log2(shares))
    found: Floats = terms.sum(-1)
    return found


def _plain(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else round(float(value), 5) for value in row] for row in values]
