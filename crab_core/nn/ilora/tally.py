"""What the routers of a model say, added up while it runs: nothing that is kept grows with routers times positions.

`capture` keeps every weight, which is 224 routers x positions x heads for 32 layers of seven projections. Here a
position has one row, the mean over routers, and a router one row a group of positions.

# R routers, T positions, G groups of positions, H heads
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from crab_core.nn.ilora.layer import Router
from crab_core.nn.ilora.routing import routers

_FEW = 16  # positions of one forward call that wait until all routers have spoken, to be added at once


class Tally:
    """Sums over the positions of one sequence, in the order in which they are read.

    `groups` are the numbers, below `count`, of the groups of the first positions; all later ones are in the last group.
    """

    def __init__(self, names: Sequence[str], groups: Sequence[int], count: int) -> None:
        self.names = tuple(names)
        self._groups = torch.tensor(list(groups), dtype=torch.long)
        self._last = count - 1
        self._read = [0] * len(names)
        self._positions: dict[int, torch.Tensor] = {}  # start of a forward call -> (t, H), the sum over routers
        self._weights: torch.Tensor | None = None  # (R, G, H)
        self._entropies: torch.Tensor | None = None  # (R, G)
        self._waiting: list[tuple[int, torch.Tensor]] = []
        self._waits_from = 0

    @property
    def positions(self) -> int:
        """How many positions were read."""
        return self._read[0]

    def shares(self) -> torch.Tensor:
        """(T, H): the mean over routers at each position."""
        self._add_waiting()
        return torch.cat([self._positions[start] for start in sorted(self._positions)]) / len(self.names)

    def counts(self) -> torch.Tensor:
        """(G,): how many positions each group has."""
        return torch.bincount(self._of(0, self.positions), minlength=self._last + 1)

    def by_group(self) -> torch.Tensor:
        """(R, G, H): the mean over the positions of a group; NaN where it has none."""
        self._add_waiting()
        assert self._weights is not None
        return self._weights.cpu() / self.counts()[:, None]

    def entropies_bits(self) -> torch.Tensor:
        """(R, G): the mean entropy of a position's weights; NaN where the group has none."""
        self._add_waiting()
        assert self._entropies is not None
        return self._entropies.cpu() / self.counts()

    def add(self, router: int, route: torch.Tensor) -> None:
        """The weights (1, t, H) that one router gave to the next t positions."""
        weights, start = route.detach()[0].float(), self._read[router]
        self._read[router] += len(weights)
        if len(weights) > _FEW:
            self._add([router], weights[None], start)
            return
        if self._waiting and start != self._waits_from:
            self._add_waiting()
        self._waits_from = start
        self._waiting.append((router, weights))

    def _add_waiting(self) -> None:
        if self._waiting:
            which, weights = zip(*self._waiting, strict=True)
            self._add(list(which), torch.stack(weights), self._waits_from)
            self._waiting.clear()

    @torch.inference_mode()
    def _add(self, which: Sequence[int], weights: torch.Tensor, start: int) -> None:
        """Weights (R', t, H) of some routers."""
        total = weights.sum(0)
        self._positions[start] = self._positions[start] + total if start in self._positions else total
        if self._weights is None or self._entropies is None:
            size = (len(self.names), self._last + 1)
            self._weights = weights.new_zeros((*size, weights.shape[-1]))
            self._entropies = weights.new_zeros(size)
        groups = self._of(start, weights.shape[1]).to(weights.device)
        bits = torch.special.entr(weights).sum(-1) / math.log(2)  # (R', t)
        grouped = weights.new_zeros((len(which), *self._weights.shape[1:])).index_add_(1, groups, weights)
        self._weights[list(which)] += grouped
        self._entropies[list(which)] += bits.new_zeros((len(which), self._last + 1)).index_add_(1, groups, bits)

    def _of(self, start: int, count: int) -> torch.Tensor:
        """(count,): the groups of positions from `start`."""
        known = self._groups[start : start + count]
        return torch.cat([known, known.new_full((count - len(known),), self._last)])


@contextmanager
def tallied(model: nn.Module, groups: Sequence[int], count: int, *, fresh: int | None = None) -> Iterator[Tally]:
    """Within the block the active adapter's routers are added up: the tally fills while one sequence is read.

    What is added up is the router's own weights, before any head mask; with a seed as `fresh`, what routers at their
    random start would say to the same inputs. Raises UsageError if there is no router.
    """
    found = routers(model)
    tally = Tally(list(found), groups, count)
    others = _fresh(found.values(), fresh) if fresh is not None else [None] * len(found)
    hooks = [
        router.register_forward_hook(_adder(tally, number, other))
        for number, (router, other) in enumerate(zip(found.values(), others, strict=True))
    ]
    try:
        yield tally
    finally:
        for hook in hooks:
            hook.remove()


def _fresh(found: Iterable[Router], seed: int) -> list[Router]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [Router(one.weight.shape[1], len(one.weight)).to(one.weight) for one in found]


def _adder(
    tally: Tally, number: int, other: Router | None
) -> Callable[[Router, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def add(_: Router, inputs: tuple[torch.Tensor, ...], route: torch.Tensor) -> None:
        tally.add(number, route if other is None else other(inputs[0]))

    return add
