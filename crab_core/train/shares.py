"""The parts of a step that processes and pieces take, and normalisation over all parts.

The loss of a step is a mean over what all of its items teach, however they are shared out: each part's sums are divided
by the counts of the whole step. Letters: N items, C channels, H, W sides of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed.nn
import torch.nn.functional as F
from torch import nn

from crab_core.errors import UsageError
from crab_core.train.processes import Group
from crab_core.train.settings import Stage

Share = Sequence[int]  # places among the items of a step
Totals = Mapping[str, float]
Batch = Mapping[str, Any]
MakeBatches = Callable[[Sequence[int], Sequence[Share]], list[Batch]]


class Shared(Protocol):
    """A module whose loss may be computed in parts."""

    def counts(self, batch: Batch) -> Totals:
        """What a batch's sums are to be divided by, if it is the whole step."""


def mean(values: torch.Tensor, total: float) -> torch.Tensor:
    """The part of a mean over `total` values that these give; 0 of none."""
    return values.sum() / max(total, 1e-9)


class SharedPieces:
    """The pieces of this process: `make(items, shares)` makes batches of the step's items at these places.

    Rows about single pictures, of which a stage may have some beside its `batch`, come behind the items.

    Raises UsageError for a batch with fewer items than there are processes.
    """

    def __init__(self, module: Shared, make: MakeBatches, stage: Stage, group: Group) -> None:
        self.module, self.make, self.group, self.batch = module, make, group, stage.batch
        rows = stage.batch + stage.stills
        if rows < group.size:
            raise UsageError(f"a batch of {rows} cannot be shared by {group.size} processes", hint="Raise 'batch'.")
        own = np.arange(rows)[group.rank :: group.size]
        self.shares = [[int(at) for at in share] for share in np.array_split(own, stage.accumulate) if len(share)]

    def items(self, step: int) -> list[int]:
        """The numbers of all items of a step."""
        return list(range(step * self.batch, (step + 1) * self.batch))

    def __call__(self, step: int) -> list[Batch]:
        """The batches of a step, each with the `totals` of the whole step."""
        batches = self.make(self.items(step), self.shares)
        counts = [self.module.counts(one) for one in batches]
        names = list(counts[0])
        sums = self.group.sums([float(sum(one[name] for one in counts)) for name in names])
        totals = dict(zip(names, sums, strict=True))
        return [{**one, "totals": totals} for one in batches]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are those of all processes' maps (N, C, H, W).

    torch's own, SyncBatchNorm, works on GPUs only.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The maps normalised; in evaluation mode by the statistics that were learnt, as torch does."""
        if not self.training:
            return super().forward(input)
        count = float(self._over_all(input.new_full((1,), input.numel() / input.shape[1])))
        centre = self._over_all(input.sum((0, 2, 3))) / count  # (C,)
        away = input - centre[:, None, None]
        spread = self._over_all(away.square().sum((0, 2, 3))) / count  # (C,)
        self._remember(centre.detach(), spread.detach() * count / (count - 1))
        scaled = away * (spread + self.eps).rsqrt()[:, None, None]
        return scaled * self.weight[:, None, None] + self.bias[:, None, None]

    def _remember(self, centre: torch.Tensor, spread: torch.Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(centre, self.momentum)
        self.running_var.lerp_(spread, self.momentum)
        self.num_batches_tracked.add_(1)

    @staticmethod
    def _over_all(part: torch.Tensor) -> torch.Tensor:
        return torch.distributed.nn.all_reduce(part)  # type: ignore[no-any-return]  # its gradient is summed, too


def share_norms(module: nn.Module) -> None:
    """Puts SharedBatchNorm in the place of every batch normalisation, with its own weights and statistics."""
    for parent in list(module.modules()):
        for name, one in parent.named_children():
            if type(one) is nn.BatchNorm2d:
                taken = SharedBatchNorm(one.num_features, one.eps, one.momentum or 0.0)
                taken.weight, taken.bias = one.weight, one.bias
                taken.running_mean, taken.running_var = one.running_mean, one.running_var
                taken.num_batches_tracked = one.num_batches_tracked
                setattr(parent, name, taken)


def cross_entropy(
    logits: torch.Tensor, wanted: torch.Tensor, total: float, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """The part of a weighted mean of cross-entropies; logits (..., C), wanted (...), `total` the sum of weights."""
    return F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), weights, reduction="sum") / max(total, 1e-9)
