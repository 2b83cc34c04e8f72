"""A mask decoder's logits become masks of the original frame: enlarged as logits, decided afterwards.

Deciding first and enlarging then would draw the decoder's coarse squares. Source of the decision: Crab's published
inference; a pixel is inside where the logit is above 0, or of the class whose logit is highest.
Letters: K classes, h, w the decoder's size; H, W the frame's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.families._base import MASK_LOGITS
from crab_core.tasks.pictures import class_name, is_nothing
from crab_core.types import Mask, heat_of

if TYPE_CHECKING:
    from crab_core.families._base import Generated

Floats = npt.NDArray[np.float32]
NOTHING_LABEL = "nothing"
HEAT_PX = 64  # a finer grid of likelihoods is made coarser: a result may hold thousands


def masks_of(
    generated: Generated, label: str, at_s: float, size: tuple[int, int]
) -> tuple[tuple[Mask, ...], tuple[str, ...]]:
    """The masks of what a network wrote, at (W, H) = `size`, and what to tell of them.

    One mask of the label, which is empty if the network says that nothing is there or draws nothing; or one a class
    that is somewhere, and an empty one if only the background is.
    """
    logits = generated.extras.get(MASK_LOGITS)
    if logits is None:
        problem = () if is_nothing(label) else ("the model told no mask",)
        return (empty_mask(at_s, size, label),), problem
    maps = _array(logits)
    if len(maps) > 1:
        return semantic_masks(maps, at_s, size) or (empty_mask(at_s, size),), ()
    return (binary_mask(maps[0], label, at_s, size),), ()


def drawn_of(generated: Generated) -> npt.NDArray[np.bool_] | None:
    """Where a network drew something, whatever its words say: (h, w) in the size that it draws; None if nowhere."""
    logits = generated.extras.get(MASK_LOGITS)
    if logits is None:
        return None
    maps = _array(logits)
    found: npt.NDArray[np.bool_] = maps.argmax(0) > 0 if len(maps) > 1 else maps[0] > 0
    return found


def overlap_of(whole: npt.NDArray[np.bool_] | None, other: npt.NDArray[np.bool_] | None) -> float | None:
    """The IoU of a mask with that of the whole model; None if that has none."""
    if whole is None:
        return None
    both = np.zeros_like(whole) if other is None else other
    union = int((whole | both).sum())
    return float((whole & both).sum()) / union if union else float(other is not None)


def binary_mask(logits: Floats, label: str, at_s: float, size: tuple[int, int]) -> Mask:
    """The mask of logits (h, w), its score the mean probability inside."""
    large = enlarged(logits, size)
    inside = large > 0
    if is_nothing(label):  # the words decide: a decoder that learnt things draws something even of nothing
        return empty_mask(at_s, size)
    coarse = logits
    if max(logits.shape) > HEAT_PX:
        coarse = cv2.resize(logits, (HEAT_PX, HEAT_PX), interpolation=cv2.INTER_AREA)
    heat = heat_of(np.rint(255 / (1 + np.exp(-coarse.clip(-30, 30)))).astype(np.uint8))
    score = float((1 / (1 + np.exp(-large[inside]))).mean()) if inside.any() else 0.0
    return replace(Mask.of(label, at_s, inside, round(score, 4)), heat=heat)


def semantic_masks(logits: Floats, at_s: float, size: tuple[int, int]) -> tuple[Mask, ...]:
    """One mask for each class but the background (class 0) that is highest somewhere, of logits (K, h, w).

    Classes are enlarged one after another, so that memory holds a few frames, not K.
    """
    best = enlarged(logits[0], size)
    total, winner = np.ones_like(best), np.zeros(best.shape, np.int16)  # total: the sum of exp(logit - best)
    for index in range(1, len(logits)):
        large = enlarged(logits[index], size)
        higher = large > best
        top = np.maximum(large, best)
        total = total * np.exp(best - top) + np.exp(large - top)
        winner[higher] = index
        best = top
    present = [int(index) for index in np.unique(winner) if index]
    return tuple(
        Mask.of(class_name(index), at_s, winner == index, round(float((1 / total[winner == index]).mean()), 4), index)
        for index in present
    )


def enlarged(logits: Floats, size: tuple[int, int]) -> Floats:
    """Logits (h, w) at (W, H) = `size`, bilinear between the centres of pixels: (H, W)."""
    large: Floats = cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR)
    return large


def _array(logits: object) -> Floats:
    """(K, h, w) of a tensor on any device, or of an array."""
    held = logits.detach().float().cpu() if hasattr(logits, "detach") else logits
    return np.asarray(held, np.float32)


def empty_mask(at_s: float, size: tuple[int, int], label: str = NOTHING_LABEL) -> Mask:
    """A mask of (W, H) = `size` without a pixel inside."""
    return Mask.of(label or NOTHING_LABEL, at_s, np.zeros((size[1], size[0]), bool))
