"""What the mask decoder learns from in a batch of packed texts: pictures, the states to read, and the pixels meant.

Source: Crab (arXiv 2503.13068, section 3.3): the states that predict an answer's mask tokens tell the mask.
Letters: B rows of L positions, R rows with masks, K masks, S frame side, M map side, t mask tokens, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from crab_core.nn.crab import CrabModel
from crab_core.nn.mask_losses import binary_loss
from crab_core.train.features import pictures
from crab_core.train.packing import Row, mask_positions
from crab_core.train.pool import Pool

AVS = "avs"


def mask_batch(
    rows: Sequence[Row],
    clips: npt.NDArray[np.int64],
    length: int,
    pool: Pool,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, torch.Tensor]:
    """`shots` (R, 3, S, S), and for each mask its row's `shot` (K,), its states' places `at` (K, t) among B L and its
    `truth` (K, 1, M, M) of 0 and 1; empty if no text of the batch tells a mask.
    """
    frames: list[npt.NDArray[np.uint8]] = []
    shots, places, truths = [], [], []
    for number, (row, clip) in enumerate(zip(rows, clips, strict=True)):
        told = mask_positions(row)
        if not told or row.second is None:
            continue
        for text, positions in told:
            shots.append(len(frames))
            places.append([number * length + at for at in positions])
            truths.append(np.isin(pool.maps[clip, row.second], text.figures))
        frames.append(pool.frames[clip, row.second])
    if not frames:
        return {}
    return {
        "shots": pictures(np.stack(frames), mean, std),
        "shot": torch.tensor(shots),
        "at": torch.tensor(places),
        "truth": torch.from_numpy(np.stack(truths)[:, None].astype(np.float32)),
    }


def mask_losses(
    model: CrabModel, hidden: torch.Tensor, masks: Mapping[str, torch.Tensor], total: float
) -> dict[str, torch.Tensor]:
    """`mask_loss` and `mask_iou`, the part of means over a step's `total` masks, of the states (B, L, W) after the
    last norm.
    """
    if not masks:
        return {"mask_loss": hidden.new_zeros(()), "mask_iou": hidden.new_zeros(())}
    with torch.set_grad_enabled(any(one.requires_grad for one in model.visual_encoder.parameters())):
        layers = model.mask_layers(model.visual_encoder(masks["shots"]))
    states = hidden.flatten(0, 1)[masks["at"]]  # (K, t, W)
    features = [layer[masks["shot"]] for layer in layers]
    logits = model.capabilities[AVS].draw(states, features)  # (K, 1, h, w)
    truth = masks["truth"]
    if truth.shape[-1] != logits.shape[-1]:
        truth = (F.interpolate(truth, size=logits.shape[-2:], mode="area") >= 0.5).float()
    inside, wanted = logits.detach() > 0, truth > 0
    union = (inside | wanted).flatten(1).sum(1)
    iou = (inside & wanted).flatten(1).sum(1) / union.clamp_min(1)
    return {"mask_loss": binary_loss(logits, truth) / total, "mask_iou": iou.sum() / total}
