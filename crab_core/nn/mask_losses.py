"""What a mask decoder learns from: pixels right or wrong, overlap, and for semantic masks the class of each pixel.

Source: Crab (arXiv 2503.13068, section 3.4); the weights are those of the published code, which sums over samples.
Letters: B pictures, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from crab_core.nn.mask_decoder import Kind

DICE_WEIGHT = 0.5
DICE_SCALE = 1000.0  # sums over pixels are divided by it, so that the constant below weighs as it was trained
DICE_EPS = 1e-6


def binary_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of pixels plus half of the dice loss, summed over pictures; both (B, 1, H, W), truth in 0..1."""
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").flatten(1).mean(1)
    return (pixels + DICE_WEIGHT * dice_loss(logits, truth)).sum()


def dice_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """1 - the dice overlap of each picture, (B,)."""
    guess, truth = logits.sigmoid().flatten(1), truth.flatten(1)
    shared = 2 * (guess * truth / DICE_SCALE).sum(1)
    total = (guess / DICE_SCALE).sum(1) + (truth / DICE_SCALE).sum(1)
    return 1 - (shared + DICE_EPS) / (total + DICE_EPS)


def binary_iou(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """The overlap of each mask with the true one (B,), both (B, 1, H, W), without gradients; 0 where both are empty."""
    inside, wanted = logits.detach() > 0, truth > 0
    union = (inside | wanted).flatten(1).sum(1)
    return (inside & wanted).flatten(1).sum(1) / union.clamp_min(1)


def semantic_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over classes, mean over pixels, summed over pictures; (B, K, H, W) and classes (B, 1, H, W)."""
    return F.cross_entropy(logits, truth[:, 0].long(), reduction="none").flatten(1).mean(1).sum()


def mask_loss(logits: Sequence[torch.Tensor], truths: Sequence[torch.Tensor], kinds: Sequence[Kind]) -> torch.Tensor:
    """The loss of a batch of both kinds, (K, H, W) and (1, H, W) a picture: each kind weighs by its share.

    Raises ValueError for an empty batch.
    """
    if not kinds:
        raise ValueError("a mask loss needs at least one mask")
    total = truths[0].new_zeros(())
    for kind in sorted(set(kinds)):
        picked = [index for index, one in enumerate(kinds) if one == kind]
        loss = semantic_loss if kind == "semantic" else binary_loss
        group = loss(torch.stack([logits[i] for i in picked]), torch.stack([truths[i] for i in picked]))
        total = total + group * (len(picked) / len(kinds))
    return total
