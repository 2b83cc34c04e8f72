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

    def forward(
        self,
        frames: torch.Tensor,
        seconds: torch.Tensor,
        cells: torch.Tensor,
        patches: torch.Tensor,
        boxes: torch.Tensor,
    ) -> Mapping[str, torch.Tensor]:
        """The loss for frames (N, 3, H, W), seconds (N,), classes of cells (N, Q) and patches (N, P), boxes (N, Q, 4).

        Boxes are shares of the frame, nan where there is none.
        """
        seen = self.model.visual_encoder(frames)[-1]  # (N, P, D)
        rows = self.norm(self.model.vl_projector(self.model.tag_video(seen, seconds)))  # (N, Q, W)
        cell_logits = self.cell_head(rows)  # (N, Q, C+1)
        second_logits = self.second_head(rows)  # (N, Q, T)
        loss = F.cross_entropy(cell_logits.flatten(0, 1), cells.flatten(), self.weights)
        patch_logits = self.patch_head(seen)  # (N, P, C+1)
        patch_loss = F.cross_entropy(patch_logits.flatten(0, 1), patches.flatten(), self.weights)
        wanted = seconds[:, None].expand(-1, rows.shape[1]).flatten()
        second_loss = F.cross_entropy(second_logits.flatten(0, 1), wanted)
        extras: dict[str, torch.Tensor] = {}
        if self.place_head is not None and self.box_head is not None:
            own = torch.arange(rows.shape[1], device=rows.device).expand(rows.shape[:2])  # (N, Q)
            loss = loss + PLACE_WEIGHT * F.cross_entropy(self.place_head(rows).flatten(0, 1), own.flatten())
            there = ~boxes.isnan().any(-1)  # (N, Q)
            off = (self.box_head(rows)[there] - boxes[there]).abs().mean()
            loss, extras["box_error"] = loss + BOX_WEIGHT * off, off.detach()
        right = (cell_logits.argmax(-1) == cells).float()
        return {
            "loss": loss + PATCH_WEIGHT * patch_loss + SECOND_WEIGHT * second_loss,
            "cell_accuracy": right.mean().detach(),
            "object_accuracy": right[cells > 0].mean().detach(),
            "patch_accuracy": (patch_logits.argmax(-1) == patches)[patches > 0].float().mean().detach(),
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

    def forward(
        self, banks: torch.Tensor, seconds: torch.Tensor, heard: torch.Tensor, levels: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        """The loss for filter banks (N, L, 128), seconds (N,), heard (N, C) 0 or 1, levels (N, C) in units of 10 dB."""
        tokens = self.model.audio_encoder(banks)  # (N, n, D)
        rows = self.norm(self.model.al_projector(self.model.tag_audio(tokens, seconds)))  # (N, Q, W)
        joined = rows.flatten(1)  # (N, Q*W)
        logits = self.class_head(joined)  # (N, C)
        loss = F.binary_cross_entropy_with_logits(logits, heard) * 10
        token_loss = F.binary_cross_entropy_with_logits(self.token_head(tokens).amax(1), heard) * 10
        there = heard > 0
        level_loss = F.smooth_l1_loss(self.level_head(joined)[there], levels[there])
        wanted = seconds[:, None].expand(-1, rows.shape[1]).flatten()
        second_loss = F.cross_entropy(self.second_head(rows).flatten(0, 1), wanted)
        found, both = logits > 0, (logits > 0) & there
        return {
            "loss": loss + PATCH_WEIGHT * token_loss + LEVEL_WEIGHT * level_loss + SECOND_WEIGHT * second_loss,
            "f1": (2 * both.sum() / (found.sum() + there.sum()).clamp_min(1)).detach(),
        }


def settle(encoder: nn.Module) -> None:
    """Evaluation mode for an encoder of which nothing learns: batch normalisation would go on counting."""
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        encoder.eval()
