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
from crab_core.nn.mask_losses import binary_iou, binary_loss
from crab_core.train.features import pictures
from crab_core.train.packing import Row, mask_positions
from crab_core.train.pool import Pool

AVS = "avs"
Meant = tuple[int, int, Sequence[Sequence[int]]]  # a clip, its second, and the drawings that each mask means


def mask_batch(
    rows: Sequence[Row],
    clips: npt.NDArray[np.int64],
    length: int,
    pool: Pool,
    mean: Sequence[float],
    std: Sequence[float],
) -> dict[str, torch.Tensor]:
    """What `drawing_batch` gives for the masks that the rows' texts tell, and for each its states' places `at` (K, t)
    among B L; empty if no text of the batch tells a mask.
    """
    meant: list[Meant] = []
    places: list[list[int]] = []
    for number, (row, clip) in enumerate(zip(rows, clips, strict=True)):
        told = mask_positions(row)
        if not told or row.second is None:
            continue
        places += [[number * length + at for at in positions] for _, positions in told]
        meant.append((int(clip), row.second, [text.figures for text, _ in told]))
    if not meant:
        return {}
    return {**drawing_batch(meant, pool, mean, std), "at": torch.tensor(places)}


def drawing_batch(
    meant: Sequence[Meant], pool: Pool, mean: Sequence[float], std: Sequence[float]
) -> dict[str, torch.Tensor]:
    """`shots` (R, 3, S, S) of seconds of clips, and for each of their masks the number `shot` (K,) of its picture and
    its `truth` (K, 1, M, M) of 0 and 1.
    """
    frames = np.stack([pool.frames[clip, second] for clip, second, _ in meant])
    truths = [np.isin(pool.maps[clip, second], figures) for clip, second, masks in meant for figures in masks]
    shots = [number for number, (_, _, masks) in enumerate(meant) for _ in masks]
    return {
        "shots": pictures(frames, mean, std),
        "shot": torch.tensor(shots),
        "truth": torch.from_numpy(np.stack(truths)[:, None].astype(np.float32)),
    }


def mask_losses(
    model: CrabModel, hidden: torch.Tensor, masks: Mapping[str, torch.Tensor], total: float
) -> dict[str, torch.Tensor]:
    """`drawing_losses` of the masks whose states are among those (B, L, W) after the last norm."""
    if not masks:
        return {"mask_loss": hidden.new_zeros(()), "mask_iou": hidden.new_zeros(())}
    return drawing_losses(model, hidden.flatten(0, 1)[masks["at"]], masks, total)


def drawing_losses(
    model: CrabModel, states: torch.Tensor, masks: Mapping[str, torch.Tensor], total: float
) -> dict[str, torch.Tensor]:
    """`mask_loss` and `mask_iou`, the part of means over a step's `total` masks, of the states (K, t, W) of each."""
    with torch.set_grad_enabled(any(one.requires_grad for one in model.visual_encoder.parameters())):
        layers = model.mask_layers(model.visual_encoder(masks["shots"]))
    logits = model.capabilities[AVS].draw(states, layers, masks["shot"])  # (K, 1, h, w)
    truth = masks["truth"]
    if truth.shape[-1] != logits.shape[-1]:
        truth = (F.interpolate(truth, size=logits.shape[-2:], mode="area") >= 0.5).float()
    return {"mask_loss": binary_loss(logits, truth) / total, "mask_iou": binary_iou(logits, truth).sum() / total}
