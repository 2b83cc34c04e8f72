"""Coarse sketches of masks: what a mask token's state must tell of a place, and what a decoder learns to draw from.

A mask decoder begins by marking all that is shown, for which it needs no state, and then hardly any gradient asks the
states for a place. So both are taught apart on the generated world: a stage of the kind `masks` lets the decoder draw
from sketches, and a language stage with a `sketch_weight` lets the states tell them. If the decoder does not learn in
that stage, it is made to read the states where they tell their sketch when the stage ends.
Letters: K masks, t mask tokens, W width of the LLM, M map side, C cells of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.crab import CrabModel
from crab_core.nn.mask_decoder import LEVELS, MaskDecoder
from crab_core.train.dense import settle
from crab_core.train.masks import drawing_losses
from crab_core.train.shares import Batch, Totals

SIDE = 7
CELLS = SIDE * SIDE
LIKELY = 0.5  # a cell that is told to be covered at least so much counts as marked


def sketch(truth: torch.Tensor) -> torch.Tensor:
    """Masks (K, 1, M, M) of 0 and 1 -> (K, C): the root of the share of each cell that is covered, so that small
    things show.
    """
    return F.adaptive_avg_pool2d(truth, SIDE).flatten(1).sqrt()


def rough_sketches(truth: torch.Tensor, moved: npt.NDArray[np.int64], blurred: npt.NDArray[np.bool_]) -> torch.Tensor:
    """The sketches (K, C) of masks (K, 1, M, M) as somebody tells them who knows the place roughly: of each mask moved
    down and right by so many points of its map (K, 2), and blurred or not (K,).
    """
    elsewhere = [
        F.pad(mask, (right, -right, down, -down)) for mask, (down, right) in zip(truth, moved.tolist(), strict=True)
    ]
    exact = F.adaptive_avg_pool2d(torch.stack(elsewhere), SIDE)  # (K, 1, c, c)
    blurry = F.avg_pool2d(exact, 3, stride=1, padding=1)
    return torch.where(torch.from_numpy(blurred)[:, None, None, None], blurry, exact).flatten(1).sqrt()


def directions(width: int) -> torch.Tensor:
    """(C, W) a direction for each cell, the same at any time: a sketch in the place of a state is their sum.

    They are about as large as states are, since a decoder learns to ignore what hardly differs.
    """
    return torch.randn(CELLS, width, generator=torch.Generator().manual_seed(CELLS))


class SketchReader(nn.Module):
    """Reads the sketch off each mask token's state by one linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, CELLS)

    def forward(
        self, hidden: torch.Tensor, masks: Mapping[str, torch.Tensor], total: float
    ) -> Mapping[str, torch.Tensor]:
        """The part of a mean over a step's `total` masks of states (B, L, W), `masks` being what `mask_batch` gives:
        `sketch_loss`, the squared error of a sketch, and `sketch_iou` of the cells that are marked.
        """
        if not masks:
            return {"sketch_loss": hidden.new_zeros(()), "sketch_iou": hidden.new_zeros(())}
        told = self.head(hidden.flatten(0, 1)[masks["at"]])  # (K, t, C)
        wanted = sketch(masks["truth"])[:, None].expand_as(told)
        losses = (told - wanted).square().sum(-1).mean(1)
        marked, meant = told.detach() >= LIKELY, wanted >= LIKELY
        shares = (marked & meant).sum(-1) / (marked | meant).sum(-1).clamp_min(1)  # (K, t)
        return {"sketch_loss": losses.sum() / total, "sketch_iou": shares.mean(1).sum() / total}

    @torch.no_grad()
    def hand_over(self, decoder: MaskDecoder) -> None:
        """Lets a decoder that draws from sketches do so from what this map reads off a state."""
        first = decoder.embed[0]
        assert isinstance(first, nn.Linear)
        into = directions(first.in_features).to(first.weight).T  # (W, C)
        first.bias += first.weight @ into @ self.head.bias
        first.weight.copy_(first.weight @ into @ self.head.weight)


class MaskStage(nn.Module):
    """Learns to draw masks from sketches of them, which take the place of the LLM's states."""

    def __init__(self, model: CrabModel) -> None:
        super().__init__()
        assert model.config.mask is not None  # checked with the settings
        self.model = model
        self.tokens = LEVELS * model.config.mask.decoder.tokens
        self.register_buffer("directions", directions(model.config.vl.out_width), persistent=False)

    def train(self, mode: bool = True) -> MaskStage:
        """Training mode for what learns; a frozen encoder keeps its statistics."""
        super().train(mode)
        settle(self.model.visual_encoder)
        return self

    def counts(self, batch: Batch) -> Totals:
        """What a batch's sums are divided by: masks."""
        return {"masks": len(batch["shot"])}

    def forward(
        self, shots: torch.Tensor, shot: torch.Tensor, truth: torch.Tensor, rough: torch.Tensor, totals: Totals
    ) -> Mapping[str, torch.Tensor]:
        """The loss for pictures (R, 3, S, S), the picture of each mask (K,), its pixels (K, 1, M, M) and its sketch
        (K, C), which need not be exact. `totals` are the `counts` of the whole step.
        """
        states = (rough @ self.directions)[:, None].expand(-1, self.tokens, -1)  # (K, t, W)
        made = drawing_losses(self.model, states, {"shots": shots, "shot": shot, "truth": truth}, totals["masks"])
        return {"loss": made["mask_loss"], "mask_iou": made["mask_iou"].detach()}
