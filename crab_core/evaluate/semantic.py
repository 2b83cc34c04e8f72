"""Semantic masks (AVSS): IoU and F of each class, averaged over classes.

As in AVSBench's code, the IoU of a class is its mean over the frames in which it is told or true. Three means over
classes are published under two names; here each has its own: over all 71 classes, where a class that never occurs
counts as 0 (`published`); over the classes that occur; and the same without background. The published "noBg" leaves
out the *last* class (woman) instead of class 0, the background: `published_no_background` repeats that number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from crab_core.errors import UsageError
from crab_core.evaluate.bootstrap import Counts, Floats

CLASSES = 71
BETA_SQUARED = 0.3
Measure = Literal["iou", "f"]
Over = Literal["published", "published_no_background", "no_background", "present", "present_no_background"]


@dataclass(frozen=True, slots=True)
class SemanticRow:
    """The pixels of one frame by class, each (classes,): told, true, and both."""

    clip: str
    told: Floats
    true: Floats
    shared: Floats

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which classes are told or true, (classes,)."""
        return (self.told + self.true) > 0

    @property
    def iou(self) -> Floats:
        """(classes,), 0 where a class is absent."""
        return self.shared / (self.told + self.true - self.shared + np.finfo(np.float64).eps)

    @property
    def f(self) -> Floats:
        """F with beta^2 = 0.3, (classes,), 0 where precision or recall is undefined."""
        precision, recall = (self.shared / np.maximum(one, 1) for one in (self.told, self.true))
        below = BETA_SQUARED * precision + recall
        return np.where(below > 0, (1 + BETA_SQUARED) * precision * recall / np.where(below > 0, below, 1), 0.0)


def measure(
    clip: str, told: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], classes: int = CLASSES
) -> SemanticRow:
    """The row of one frame; `told` and `truth` (H, W) hold class indices, 0 for background.

    Raises UsageError if the shapes differ or an index is no class.
    """
    if told.shape != truth.shape:
        raise UsageError(f"a map of {told.shape} pixels does not fit the truth's {truth.shape}")
    for found in (told, truth):
        if found.size and not 0 <= int(found.min()) <= int(found.max()) < classes:
            raise UsageError(f"class '{int(found.max())}' is none of the {classes} classes, which count from 0")
    return SemanticRow(clip, *(_histogram(one, classes) for one in (told, truth, told[told == truth])))


def over_classes(rows: Sequence[SemanticRow], what: Measure, over: Over = "published") -> Counts:
    """The mean over classes of the mean IoU or F; raises UsageError if there are no rows."""
    if not rows:
        raise UsageError("there is nothing to score: no rows were given")
    values = np.array([row.iou if what == "iou" else row.f for row in rows])  # (rows, classes)
    chosen = slice(0, -1) if over == "published_no_background" else slice(1 if "no_background" in over else 0, None)
    present = np.array([row.present for row in rows], dtype=np.float64)
    table = np.concatenate([(values * present)[:, chosen], present[:, chosen]], axis=1)
    formula: Literal["classes", "present classes"] = "present classes" if over.startswith("present") else "classes"
    return Counts(formula, tuple(row.clip for row in rows), table)


def _histogram(indices: npt.NDArray[np.integer], classes: int) -> Floats:
    return np.bincount(indices.ravel().astype(np.int64), minlength=classes).astype(np.float64)
