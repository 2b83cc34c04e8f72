"""Localization by boxes (ARIG, sound source localization): the field's cIoU, AUC and pointing game, and box IoU.

cIoU is the consensus IoU of sound localization (Senocak et al., CVPR 2018; the code of Chen et al., CVPR 2021): with
the truth G and the told pixels P, `sum(P G) / (sum(G) + sum(P [G = 0]))` on a grid of 224 x 224. The published number
is the share of frames that reach 0.5; AUC is the area under that share over the thresholds 0, 0.05, ..., 1. It is not
the Complete-IoU that shares its name. Where nothing sounds, telling nothing is right and telling anything is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crab_core.data.sample import label_key
from crab_core.evaluate.bootstrap import Counts, counts
from crab_core.types import Box

SIDE = 224  # the grid of the published scorers
THRESHOLDS = tuple(step / 20 for step in range(21))
SUCCESS = 0.5


@dataclass(frozen=True, slots=True)
class BoxRow:
    """The boxes that a model told of one frame, and the true ones, in pixels of a frame of `size` (width, height)."""

    clip: str
    size: tuple[int, int]
    predicted: tuple[Box, ...]
    truth: tuple[Box, ...]

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"a frame needs at least 1 pixel, got {self.size}")


def success_rate(rows: Sequence[BoxRow], threshold: float = SUCCESS) -> Counts:
    """Frames whose cIoU reaches the threshold: the "cIoU" of the papers, as a share."""
    return _share(rows, [consensus(row) >= threshold for row in rows])


def area_under_curve(rows: Sequence[BoxRow]) -> Counts:
    """The trapezoid under the success rates at the 21 thresholds; a mean over frames, since the trapezoid is linear."""
    return _share(rows, [_area(consensus(row)) for row in rows])


def pointing(rows: Sequence[BoxRow]) -> Counts:
    """Pointing game: frames in which the middle of the first told box lies in a true box."""
    return _share(rows, [_points(row) for row in rows])


def class_aware_rate(rows: Sequence[BoxRow], threshold: float = SUCCESS) -> Counts:
    """Frames whose class-aware cIoU reaches the threshold: the mean over the true labels of the cIoU of the boxes with
    that label, so that the right place under a wrong name counts as nothing."""
    return _share(rows, [class_aware(row) >= threshold for row in rows])


def mean_iou(rows: Sequence[BoxRow]) -> Counts:
    """The IoU of told and true boxes, the best pairs first, over the larger number of the two; labels do not matter."""
    return _share(rows, [_paired_iou(row) for row in rows])


def consensus(row: BoxRow) -> float:
    """The cIoU of one frame, 0 to 1; 1 if nothing is true and nothing told."""
    return _consensus(_filled(row.predicted, row.size), _filled(row.truth, row.size))


def class_aware(row: BoxRow) -> float:
    """The mean cIoU over the labels that are true; that of all boxes where nothing is true."""
    labels = sorted({label_key(box.label) for box in row.truth})
    if not labels:
        return consensus(row)
    each = []
    for label in labels:
        told, true = (_filled(_named(boxes, label), row.size) for boxes in (row.predicted, row.truth))
        each.append(_consensus(told, true))
    return float(np.mean(each))


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes as areas, not pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / (_area_px(one) + _area_px(other) - shared)


def _share(rows: Sequence[BoxRow], values: Sequence[float]) -> Counts:
    return counts("share", [row.clip for row in rows], [(value, 1) for value in values])


def _consensus(told: npt.NDArray[np.bool_], true: npt.NDArray[np.bool_]) -> float:
    below = int(true.sum()) + int((told & ~true).sum())
    return int((told & true).sum()) / below if below else 1.0


def _filled(boxes: Sequence[Box], size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The pixels of the grid whose middles lie in a box, (SIDE, SIDE)."""
    inside = np.zeros((SIDE, SIDE), dtype=np.bool_)
    middles = np.arange(SIDE) + 0.5
    for box in boxes:
        x, y = middles * size[0] / SIDE, middles * size[1] / SIDE
        inside |= ((box.y0 <= y) & (y < box.y1))[:, None] & ((box.x0 <= x) & (x < box.x1))[None, :]
    return inside


def _named(boxes: Sequence[Box], label: str) -> list[Box]:
    return [box for box in boxes if label_key(box.label) == label]


def _area(value: float) -> float:
    reached = [value >= threshold for threshold in THRESHOLDS]
    return (sum(reached) - (reached[0] + reached[-1]) / 2) / (len(THRESHOLDS) - 1)


def _points(row: BoxRow) -> bool:
    if not row.predicted or not row.truth:
        return not row.predicted and not row.truth
    x, y = (row.predicted[0].x0 + row.predicted[0].x1) / 2, (row.predicted[0].y0 + row.predicted[0].y1) / 2
    return any(box.x0 <= x < box.x1 and box.y0 <= y < box.y1 for box in row.truth)


def _paired_iou(row: BoxRow) -> float:
    if not row.predicted or not row.truth:
        return float(not row.predicted and not row.truth)
    pairs = [(box_iou(p, t), i, j) for i, p in enumerate(row.predicted) for j, t in enumerate(row.truth)]
    told, true, total = set(), set(), 0.0
    for value, i, j in sorted(pairs, reverse=True):
        if i not in told and j not in true:
            told.add(i)
            true.add(j)
            total += value
    return total / max(len(row.predicted), len(row.truth))


def _area_px(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
