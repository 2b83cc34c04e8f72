"""Heads of different layers under one number: an order of each layer's heads that changes nothing that a model says.

The heads of a layer are a sum, so that their order is that of a random start: head 1 of one layer has nothing to do
with head 1 of the next, and a mean over layers hides what each of them does. Here each layer's heads are put into the
order in which their profiles, such as the mean share that each task gives them, are most alike from layer to layer.

Letters: H heads, F features of a profile, r rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora.routing import named_layers

ALL_ORDERS = 6  # up to so many heads every order is tried; beyond, pairs are exchanged while that helps
ROUNDS = 50


def matched_orders(profiles: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """For each layer which of its heads comes first, second, ...: `profiles` maps its name to (H, F).

    Layers whose heads differ most come first; the others follow what those have in common, again and again until no
    order changes. What all heads of a layer, or all features of a head, share does not count. Raises ValueError for
    profiles of different sizes.
    """
    sizes = {tuple(one.shape) for one in profiles.values()}
    if len(sizes) > 1:
        raise ValueError(f"profiles must have one size, got {sorted(sizes)}")
    own = {name: _centred(one) for name, one in profiles.items()}
    ranked = sorted(own, key=lambda name: (-float(own[name].norm()), name))
    orders = {name: tuple(range(len(own[name]))) for name in ranked}
    placed: list[str] = []
    for name in ranked:
        if placed:
            orders[name] = _best(own[name], _sum(own, orders, placed), orders[name])
        placed.append(name)
    for _ in range(ROUNDS):
        before = dict(orders)
        for name in ranked:
            others = [one for one in ranked if one != name]
            if others:
                orders[name] = _best(own[name], _sum(own, orders, others), orders[name])
        if orders == before:
            break
    return orders


def reorder_heads(model: nn.Module, orders: Mapping[str, Sequence[int]], adapter: str | None = None) -> None:
    """Puts the heads of layers into other orders, in place; what the model says stays the same but for rounding.

    `orders` maps names as `routers` gives them to which head comes first, second, ... Raises UsageError for an unknown
    layer or an order that does not name each head once.
    """
    found = named_layers(model, adapter)
    for name, order in orders.items():
        if name not in found:
            raise UsageError(f"there is no I-LoRA layer '{name}'", hint=f"The first is '{next(iter(found))}'.")
        layer, chosen = found[name]
        if sorted(order) != list(range(layer.heads[chosen])):
            raise UsageError(f"an order of the {layer.heads[chosen]} heads of '{name}' cannot be {list(order)}")
    with torch.no_grad():
        for name, order in orders.items():
            layer, chosen = found[name]
            router, up = layer.ilora_router[chosen].weight, layer.ilora_B[chosen].weight  # (H, in), (out, H r)
            router.copy_(router[list(order)])
            up.copy_(up.unflatten(1, (len(order), -1))[:, list(order)].flatten(1))


def _centred(profile: torch.Tensor) -> torch.Tensor:
    wide = profile.double()
    return wide - wide.mean(0) - wide.mean(1, keepdim=True) + wide.mean()


def _sum(own: Mapping[str, torch.Tensor], orders: Mapping[str, tuple[int, ...]], names: Sequence[str]) -> torch.Tensor:
    return torch.stack([own[name][list(orders[name])] for name in names]).sum(0)


def _best(profile: torch.Tensor, common: torch.Tensor, order: tuple[int, ...]) -> tuple[int, ...]:
    """The order under which a profile is most like what is common, of equals the one before."""
    likeness = profile @ common.T  # (H, H): a head in a place
    heads = len(profile)

    def of(order: Sequence[int]) -> float:
        return float(sum(likeness[head, place] for place, head in enumerate(order)))

    if heads <= ALL_ORDERS:
        best = max(permutations(range(heads)), key=of)
        return best if of(best) > of(order) + 1e-12 else order
    improved = True
    while improved:
        improved = False
        for one in range(heads):
            for other in range(one + 1, heads):
                changed = list(order)
                changed[one], changed[other] = changed[other], changed[one]
                if of(changed) > of(order) + 1e-12:
                    order, improved = tuple(changed), True
    return order
