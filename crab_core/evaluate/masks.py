"""Masks of what sounds (S4, MS3) or of what is named (Ref-AVS): IoU and F, each by the code that published it.

A frame is measured once (`measure`) and its pixels are forgotten, so that a data set of any size fits. Published
scorers disagree; their numbers stand side by side and are named by the code:

* `mean_iou`: IoU at probability above 0.5. Where the truth is empty, the published code (AVSBench, Crab) takes the
  share of pixels left empty; `strict` gives 1 for an empty answer and 0 for any other.
* `frame_f`: F (beta^2 = 0.3), the best of 255 thresholds of each frame (Crab's code); an empty truth counts as 0.
* `video_f`: the same curves, averaged over a clip's frames with a truth before the best is taken (AVSBench's code).
* `binary_f`: F of the mask at 0.5 (Crab+'s code).
* `null_size`: where there is nothing to find (Ref-AVS null), the root of the share of pixels told; lower is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crab_core.errors import UsageError
from crab_core.evaluate.bootstrap import Counts, Floats, counts

THRESHOLDS = 255
BETA_SQUARED = 0.3
_STEPS = np.linspace(0, 1 - 1e-10, THRESHOLDS).astype(np.float32)
_TINY = 1e-20


@dataclass(frozen=True, slots=True)
class MaskRow:
    """What is kept of one frame: pixel counts at probability above 0.5, and the F at each of 255 thresholds.

    `told`, `true`, `shared` and `pixels` count pixels; `curve` is (255,), all 0 where the truth is empty.
    """

    clip: str
    told: int
    true: int
    shared: int
    pixels: int
    curve: Floats

    @property
    def iou(self) -> float:
        """The published IoU: where the truth is empty, the share of pixels that were left empty."""
        if not self.true:
            return (self.pixels - self.told) / (self.pixels + 1e-7)
        return self.shared / (self.told + self.true - self.shared + 1e-7)

    @property
    def strict_iou(self) -> float:
        """IoU; 1 if nothing is true and nothing told."""
        union = self.told + self.true - self.shared
        return self.shared / union if union else 1.0

    @property
    def binary_f(self) -> float:
        """F at 0.5; precision is 1 where nothing is told and recall is 1 where nothing is true."""
        precision = self.shared / self.told if self.told else 1.0
        recall = self.shared / self.true if self.true else 1.0
        below = BETA_SQUARED * precision + recall
        return (1 + BETA_SQUARED) * precision * recall / below if below else 0.0


def measure(clip: str, probability: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> MaskRow:
    """The row of one frame; `probability` (H, W) from 0 to 1 (0 and 1 of a plain mask), `truth` (H, W).

    Raises UsageError if the shapes differ.
    """
    if probability.shape != truth.shape:
        raise UsageError(f"a mask of {probability.shape} pixels does not fit the truth's {truth.shape}")
    told = probability > 0.5
    sizes = (int(told.sum()), int(truth.sum()), int((told & truth).sum()), truth.size)
    return MaskRow(clip, *sizes, _curve(probability, truth) if sizes[1] else np.zeros(THRESHOLDS))


def everything(row: MaskRow) -> MaskRow:
    """The same frame, told to be inside as a whole."""
    precision = row.true / row.pixels
    value = (1 + BETA_SQUARED) * precision / (BETA_SQUARED * precision + 1) if row.true else 0.0
    return MaskRow(row.clip, row.pixels, row.true, row.true, row.pixels, np.full(THRESHOLDS, value))


def nothing(row: MaskRow) -> MaskRow:
    """The same frame without a pixel inside; at threshold 0 the published sweep counts all of them even so."""
    curve = np.zeros(THRESHOLDS)
    curve[0] = everything(row).curve[0]
    return MaskRow(row.clip, 0, row.true, 0, row.pixels, curve)


def mean_iou(rows: Sequence[MaskRow], *, strict: bool = False) -> Counts:
    """Mean IoU over frames."""
    return _share(rows, [row.strict_iou if strict else row.iou for row in rows])


def frame_f(rows: Sequence[MaskRow]) -> Counts:
    """Mean over frames of each frame's best F."""
    return _share(rows, [float(row.curve.max()) for row in rows])


def video_f(rows: Sequence[MaskRow]) -> Counts:
    """Mean over clips of the best F of a clip's mean curve; 0 for a clip in which nothing is ever true."""
    curves: dict[str, list[Floats]] = {}
    for row in rows:
        curves.setdefault(row.clip, []).extend([row.curve] if row.true else [])
    best = [float(np.mean(found, axis=0).max()) if found else 0.0 for found in curves.values()]
    return counts("share", list(curves), [(value, 1) for value in best])


def binary_f(rows: Sequence[MaskRow]) -> Counts:
    """Mean F at 0.5 over frames."""
    return _share(rows, [row.binary_f for row in rows])


def null_size(rows: Sequence[MaskRow]) -> Counts:
    """Mean over frames of sqrt(told pixels / all pixels), Crab's S."""
    return _share(rows, [(row.told / row.pixels) ** 0.5 for row in rows])


def null_ratio(rows: Sequence[MaskRow]) -> Counts:
    """Mean of sqrt(told pixels / other pixels), Crab+'s S; a frame told in full has no such root and is left out.

    Raises UsageError if no frame is left.
    """
    kept = [row for row in rows if row.told < row.pixels]
    return _share(kept, [(row.told / (row.pixels - row.told)) ** 0.5 for row in kept])


def _share(rows: Sequence[MaskRow], values: Sequence[float]) -> Counts:
    return counts("share", [row.clip for row in rows], [(value, 1) for value in values])


def _curve(probability: npt.NDArray[np.float32], truth: npt.NDArray[np.bool_]) -> Floats:
    """F at each threshold, (255,): a pixel is told if its probability is at least the threshold."""
    reached = np.searchsorted(_STEPS, probability.astype(np.float32).ravel(), side="right")  # thresholds a pixel passes
    told, right = (_passing(reached[chosen]) for chosen in (slice(None), truth.ravel()))
    precision, recall = right / (told + _TINY), right / (float(truth.sum()) + _TINY)
    below = BETA_SQUARED * precision + recall
    return np.where(below > 0, (1 + BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1), 0.0)


def _passing(reached: npt.NDArray[np.intp]) -> Floats:
    """How many pixels pass each threshold, (255,)."""
    exactly = np.bincount(reached, minlength=THRESHOLDS + 1)
    return exactly[::-1].cumsum()[::-1][1:].astype(np.float64)
