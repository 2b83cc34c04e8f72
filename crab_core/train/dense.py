"""Visual and audio pre-training on dense labels: what stands in each cell, what sounds in each second.

Stands in for the pre-training of CLIP and BEATs and, like the paper's first two stages, teaches each projector to say
in the LLM's width what its encoder saw or heard (Crab, arXiv 2503.13068, section 4.1). The heads are dropped after it.
Letters: N frames or seconds, Q queries of one of them, C classes, P patches, W width of the LLM, T seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.crab import CrabModel
from crab_core.train.shares import Batch, Totals, cross_entropy, mean

PATCH_WEIGHT, SECOND_WEIGHT, LEVEL_WEIGHT, PLACE_WEIGHT, BOX_WEIGHT = 1.0, 0.3, 0.5, 0.5, 20.0
EMPTY_WEIGHT = 0.2  # of a cell or patch without anything, against one with something


class VisualStage(nn.Module):
    """Learns frames: each query says the class in its cell (or none) and which second it is; each patch its class.

    With `places` each query also says which cell it reads and the box of what stands there, so that the LLM finds the
    place in the row itself.
    """

    def __init__(self, model: CrabModel, classes: int, seconds: int = 10, *, places: bool = False) -> None:
        super().__init__()
        self.model = model
        width, patch_width = model.config.vl.out_width, model.config.vl.encoder_width
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.cell_head = nn.Linear(width, classes + 1)  # class 0 is an empty cell
        self.second_head = nn.Linear(width, seconds)
        self.patch_head = nn.Linear(patch_width, classes + 1)
        self.place_head = nn.Linear(width, model.config.vl.queries) if places else None
        self.box_head = nn.Linear(width, 4) if places else None
        self.register_buffer("weights", torch.tensor([EMPTY_WEIGHT] + [1.0] * classes), persistent=False)

    def train(self, mode: bool = True) -> VisualStage:
        """Training mode for what learns; a frozen encoder keeps its statistics."""
        super().train(mode)
        settle(self.model.visual_encoder)
        return self

    def counts(self, batch: Batch) -> Totals:
        """What a batch's sums are divided by: cells, patches and boxes, and the weights of the first two."""
        cells, patches = batch["cells"], batch["patches"]
        return {
            "cells": cells.numel(),
            "weight": float(self.weights[cells].sum()),
            "objects": int((cells > 0).sum()),
            "patch_weight": float(self.weights[patches].sum()),
            "shown": int((patches > 0).sum()),
            "boxed": int((~batch["boxes"].isnan().any(-1)).sum()),
        }

    def forward(
        self,
        frames: torch.Tensor,
        seconds: torch.Tensor,
        cells: torch.Tensor,
        patches: torch.Tensor,
        boxes: torch.Tensor,
        totals: Totals,
    ) -> Mapping[str, torch.Tensor]:
        """The loss for frames (N, 3, H, W), seconds (N,), classes of cells (N, Q) and patches (N, P), boxes (N, Q, 4).

        Boxes are shares of the frame, nan where there is none. `totals` are the `counts` of the whole step.
        """
        seen = self.model.visual_encoder(frames)[-1]  # (N, P, D)
        rows = self.norm(self.model.vl_projector(self.model.tag_video(seen, seconds)))  # (N, Q, W)
        cell_logits = self.cell_head(rows)  # (N, Q, C+1)
        second_logits = self.second_head(rows)  # (N, Q, T)
        loss = cross_entropy(cell_logits, cells, totals["weight"], self.weights)
        patch_logits = self.patch_head(seen)  # (N, P, C+1)
        patch_loss = cross_entropy(patch_logits, patches, totals["patch_weight"], self.weights)
        second_loss = cross_entropy(second_logits, seconds[:, None].expand(rows.shape[:2]), totals["cells"])
        extras: dict[str, torch.Tensor] = {}
        if self.place_head is not None and self.box_head is not None:
            own = torch.arange(rows.shape[1], device=rows.device).expand(rows.shape[:2])  # (N, Q)
            loss = loss + PLACE_WEIGHT * cross_entropy(self.place_head(rows), own, totals["cells"])
            there = ~boxes.isnan().any(-1)  # (N, Q)
            off = mean((self.box_head(rows)[there] - boxes[there]).abs(), 4 * totals["boxed"])
            loss, extras["box_error"] = loss + BOX_WEIGHT * off, off.detach()
        right = (cell_logits.argmax(-1) == cells).float()
        patches_right = (patch_logits.argmax(-1) == patches)[patches > 0]
        return {
            "loss": loss + PATCH_WEIGHT * patch_loss + SECOND_WEIGHT * second_loss,
            "cell_accuracy": mean(right, totals["cells"]),
            "object_accuracy": mean(right[cells > 0], totals["objects"]),
            "patch_accuracy": mean(patches_right, totals["shown"]),
            **extras,
        }


class AudioStage(nn.Module):
    """Learns seconds of sound: which classes are heard, how loud each is, and which second it is."""

    def __init__(self, model: CrabModel, classes: int, seconds: int = 10) -> None:
        super().__init__()
        self.model = model
        width, queries, token_width = model.config.al.out_width, model.config.al.queries, model.config.al.encoder_width
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.class_head = nn.Linear(width * queries, classes)
        self.level_head = nn.Linear(width * queries, classes)
        self.second_head = nn.Linear(width, seconds)
        self.token_head = nn.Linear(token_width, classes)

    def train(self, mode: bool = True) -> AudioStage:
        """Training mode for what learns; a frozen encoder keeps its statistics."""
        super().train(mode)
        settle(self.model.audio_encoder)
        return self

    def counts(self, batch: Batch) -> Totals:
        """What a batch's sums are divided by: seconds, and classes that are heard."""
        return {"seconds": len(batch["seconds"]), "heard": float(batch["heard"].sum())}

    def forward(
        self, banks: torch.Tensor, seconds: torch.Tensor, heard: torch.Tensor, levels: torch.Tensor, totals: Totals
    ) -> Mapping[str, torch.Tensor]:
        """The loss for filter banks (N, L, 128), seconds (N,), heard (N, C) 0 or 1, levels (N, C) in units of 10 dB.

        `totals` are the `counts` of the whole step; the F1 of a part counts by its share of the seconds.
        """
        tokens = self.model.audio_encoder(banks)  # (N, n, D)
        rows = self.norm(self.model.al_projector(self.model.tag_audio(tokens, seconds)))  # (N, Q, W)
        joined = rows.flatten(1)  # (N, Q*W)
        logits = self.class_head(joined)  # (N, C)
        every = totals["seconds"] * heard.shape[1]
        loss = mean(F.binary_cross_entropy_with_logits(logits, heard, reduction="none"), every) * 10
        of_tokens = self.token_head(tokens).amax(1)  # (N, C)
        token_loss = mean(F.binary_cross_entropy_with_logits(of_tokens, heard, reduction="none"), every) * 10
        there = heard > 0
        off = F.smooth_l1_loss(self.level_head(joined)[there], levels[there], reduction="none")
        wanted = seconds[:, None].expand(rows.shape[:2])
        second_loss = cross_entropy(self.second_head(rows), wanted, totals["seconds"] * rows.shape[1])
        found, both = logits > 0, (logits > 0) & there
        f1 = (2 * both.sum() / (found.sum() + there.sum()).clamp_min(1)).detach()
        return {
            "loss": loss
            + PATCH_WEIGHT * token_loss
            + LEVEL_WEIGHT * mean(off, totals["heard"])
            + SECOND_WEIGHT * second_loss,
            "f1": f1 * len(seconds) / totals["seconds"],
        }


def settle(encoder: nn.Module) -> None:
    """Evaluation mode for an encoder of which nothing learns: batch normalisation would go on counting."""
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        encoder.eval()
