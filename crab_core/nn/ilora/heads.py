"""Which heads take part: a change of the routing weights, set and lifted without touching any weight.

with heads(model, keep=1):
    model.generate(...)          # only head 1 updates, with the weight that the router gave it
with rerouted(model, EvenShares()):
    model.generate(...)          # every head counts alike, whatever the routers say
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora.layer import ILoraLayer


class RouteChange(Protocol):
    """What is done to the routing weights before they weigh the heads."""

    def apply(self, route: torch.Tensor) -> torch.Tensor:
        """Routing weights (..., H) as they shall be."""


@dataclass(frozen=True, slots=True)
class EvenShares:
    """Every head counts alike: what is left of an adapter whose routers know nothing."""

    def apply(self, route: torch.Tensor) -> torch.Tensor:
        """1 / H everywhere."""
        return torch.full_like(route, 1 / route.shape[-1])


@dataclass(frozen=True, slots=True)
class ExchangedShares:
    """Each head gets the share that the router gave to the one before it, the first one that of the last."""

    def apply(self, route: torch.Tensor) -> torch.Tensor:
        """The same shares, one head further."""
        return route.roll(1, dims=-1)


@dataclass(frozen=True, slots=True)
class HeadMask:
    """The heads that take part; `renormalise` shares the dropped heads' weight among them."""

    kept: frozenset[int]
    renormalise: bool = False

    def apply(self, route: torch.Tensor) -> torch.Tensor:
        """Routing weights (..., H) with zeros for the dropped heads; renormalised, they sum to 1 again."""
        # built from slices and not from an index tensor, which a GPU would wait for
        zero = torch.zeros_like(route[..., 0])
        masked = torch.stack(
            [route[..., head] if head in self.kept else zero for head in range(route.shape[-1])], dim=-1
        )
        if not self.renormalise:
            return masked
        wide = masked.float()
        total = wide.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        return (wide / total).to(route.dtype)


def keep_head(model: nn.Module, head: int, *, renormalise: bool = False) -> None:
    """Let only one head of the active adapters update. Raises UsageError if any layer lacks it."""
    _mask(model, keep={head}, renormalise=renormalise)


def drop_heads(model: nn.Module, dropped: Iterable[int], *, renormalise: bool = False) -> None:
    """Silence some heads of the active adapters.

    Raises UsageError if any layer lacks one of them, or if none is left to be renormalised.
    """
    _mask(model, drop=set(dropped), renormalise=renormalise)


def all_heads(model: nn.Module) -> None:
    """Lift every mask."""
    for layer in layers(model):
        layer.head_masks.clear()


@contextmanager
def heads(
    model: nn.Module,
    *,
    keep: int | Iterable[int] | None = None,
    drop: int | Iterable[int] | None = None,
    renormalise: bool = False,
) -> Iterator[None]:
    """Within the block only the heads of `keep`, or all but those of `drop`, update; then as it was before.

    Gradient checkpointing computes again in the backward pass: keep that inside the block too.

    Raises UsageError unless exactly one of both is given, and if any layer lacks one of the heads.
    """
    if (keep is None) == (drop is None):
        raise UsageError("'heads' needs either keep or drop", hint="For example: heads(model, keep=1).")
    with _kept_masks(model):
        _mask(model, keep=_as_set(keep), drop=_as_set(drop), renormalise=renormalise)
        yield


@contextmanager
def rerouted(model: nn.Module, change: RouteChange) -> Iterator[None]:
    """Within the block the active adapters' routing weights are changed, and no other mask counts.

    Raises UsageError if the model has no I-LoRA layer.
    """
    with _kept_masks(model):
        for layer in layers(model):
            for name in layer.active_adapters:
                if name in layer.heads:
                    layer.head_masks[name] = change
        yield


def layers(model: nn.Module) -> list[ILoraLayer]:
    """Every I-LoRA layer of the model. Raises UsageError if there is none."""
    found = [module for module in model.modules() if isinstance(module, ILoraLayer)]
    if not found:
        raise UsageError(
            "the model has no I-LoRA layer", hint="Add an adapter first: inject(model, heads=3, rank=8, alpha=16)."
        )
    return found


@contextmanager
def _kept_masks(model: nn.Module) -> Iterator[None]:
    """Masks are as they were before when the block ends."""
    before = [(layer, dict(layer.head_masks)) for layer in layers(model)]
    try:
        yield
    finally:
        for layer, masks in before:
            layer.head_masks.clear()
            layer.head_masks.update(masks)


def _as_set(chosen: int | Iterable[int] | None) -> set[int] | None:
    if chosen is None:
        return None
    return {chosen} if isinstance(chosen, int) else set(chosen)


def _mask(
    model: nn.Module, *, keep: set[int] | None = None, drop: set[int] | None = None, renormalise: bool = False
) -> None:
    """Set the mask on each layer's active adapters, after all of them were checked."""
    masks = []
    for layer in layers(model):
        for name in layer.active_adapters:
            if name not in layer.heads:
                continue
            every = set(range(layer.heads[name]))
            _check(keep if keep is not None else drop or set(), every)
            kept = keep if keep is not None else every - (drop or set())
            if renormalise and not kept:
                raise UsageError("no head is left to be renormalised", hint="Keep at least one of the heads.")
            masks.append((layer, name, HeadMask(frozenset(kept), renormalise)))
    for layer, name, mask in masks:
        layer.head_masks[name] = mask


def _check(chosen: set[int], every: set[int]) -> None:
    for head in sorted(chosen - every):
        raise UsageError(f"there is no head '{head}'", hint=f"Heads go from 0 to {len(every) - 1}.")
