"""Where each token of a spliced sequence stands in time, height and width, for Qwen2.5-Omni's rotary embedding.

Text and sound advance all three by one a token. A picture's or video's tokens share their start: time advances by 25 a
second, height and width count rows and columns; what follows goes on after the largest of all.
Source: Qwen2.5-Omni technical report (arXiv 2503.20215, section 2.2). Parity: tests/parity_plus.
Letters: B rows, L positions, T steps in time, H rows and W columns of a picture's tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from crab_core.nn.splice import Stretch
from crab_core.types import Medium


@dataclass(frozen=True, slots=True)
class Grid:
    """How a picture's or video's tokens lie: `rows` x `columns` a step, a step every `step_s` seconds."""

    rows: int
    columns: int
    step_s: float = 0.0


def positions(
    stretches: Sequence[Stretch], length: int, grids: Mapping[Medium, Grid], per_second: int = 25
) -> torch.Tensor:
    """(3, L) for one row padded on the left to `length`; padding stands at 1."""
    found = [torch.ones(3, stretches[0].start if stretches else length, dtype=torch.long)]
    at = 0
    for kind, group in groupby(stretches, key=lambda one: one.kind):
        run = list(group)
        count = run[-1].end - run[0].start
        part = _lattice(len(run), grids[kind], per_second) if kind in grids else torch.arange(count).expand(3, -1)
        found.append(part + at)
        at += int(part.max()) + 1
    return torch.cat(found, dim=1)


def _lattice(steps: int, grid: Grid, per_second: int) -> torch.Tensor:
    """(3, T H W), row by row."""
    times = (torch.arange(steps) * torch.tensor(grid.step_s, dtype=torch.float32) * per_second).long()
    lattice = torch.meshgrid(times, torch.arange(grid.rows), torch.arange(grid.columns), indexing="ij")
    return torch.stack(lattice).flatten(1)
