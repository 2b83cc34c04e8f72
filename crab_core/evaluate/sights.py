"""Boxes and masks of one picture, told and true, as rows. Both are laid on a grid of 224 x 224, as published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from crab_core.data.pixels import class_map, mask_pixels, probabilities, resized
from crab_core.data.places import inside
from crab_core.data.sample import MaskRef
from crab_core.errors import UsageError
from crab_core.evaluate import masks, semantic
from crab_core.evaluate.asks import Ask
from crab_core.evaluate.boxes import SIDE, BoxRow
from crab_core.evaluate.predictions import Prediction

NEAR_S = 0.5  # a told box or mask belongs to a picture less than this away


class Timed(Protocol):
    """Something told at a time of the clip."""

    @property
    def time_s(self) -> float:
        """When, in seconds."""
        ...


T = TypeVar("T", bound=Timed)


def at_moment(told: Sequence[T], time_s: float) -> list[T]:
    """What was told at the time nearest to `time_s`, if that is less than half a second away."""
    times = {one.time_s for one in told}
    nearest = min(times, key=lambda other: abs(other - time_s), default=None)
    if nearest is None or abs(nearest - time_s) >= NEAR_S:
        return []
    return [one for one in told if one.time_s == nearest]


def box_row(ask: Ask, told: Prediction) -> BoxRow:
    """The boxes of a picture; raises UsageError if the line does not tell the picture's size."""
    sample, frame = ask.sample, ask.frame
    assert frame is not None and frame.boxes is not None
    if sample.size is None:
        raise UsageError(
            f"line {sample.line} ('{sample.id}') does not tell the size of its pictures",
            hint='Add "size": [width, height], the frame in which the boxes are.',
        )
    return BoxRow(sample.file, sample.size, tuple(at_moment(told.boxes, frame.time_s)), frame.boxes)


def mask_row(ask: Ask, told: Prediction) -> masks.MaskRow:
    """The mask of a picture: all of its masks together. Raises InputError for a mask that cannot be read."""
    time_s = cast(float, ask.time_s)
    if ask.expression is not None:
        refs: Sequence[MaskRef] = [ask.expression.mask] if ask.expression.mask else []
    else:
        refs = (ask.frame.masks if ask.frame else None) or ()
    truth = _together(np.asarray(resized(mask_pixels(ref, ask.root), SIDE), dtype=np.bool_) for ref in refs)
    return masks.measure(ask.sample.file, _told(told, time_s), truth)


def semantic_row(ask: Ask, told: Prediction) -> semantic.SemanticRow:
    """The class map of a picture; raises UsageError for a told mask without a class."""
    assert ask.frame is not None and ask.frame.classes is not None
    truth = resized(class_map(inside(ask.root, ask.frame.classes)), SIDE)
    maps = at_moment(told.classes, ask.frame.time_s)
    if maps:
        made = resized(class_map(maps[0].path), SIDE)
    else:
        made = np.zeros((SIDE, SIDE), dtype=np.int64)
        for mask in at_moment(told.masks, ask.frame.time_s):
            if mask.class_index is None:
                raise UsageError(
                    f"a told mask of '{ask.sample.id}' has no class_index",
                    hint="Semantic masks are scored by class: give class_index or a map of 'classes'.",
                )
            made[np.asarray(resized(mask.pixels, SIDE), dtype=np.bool_)] = mask.class_index
    return semantic.measure(ask.sample.file, cast(npt.NDArray[np.int64], made), cast(npt.NDArray[np.int64], truth))


def _told(told: Prediction, time_s: float) -> npt.NDArray[np.float32]:
    """Probabilities (SIDE, SIDE): the highest of what was told, 1 inside a plain mask."""
    made = np.zeros((SIDE, SIDE), dtype=np.float32)
    for soft in at_moment(told.soft, time_s):
        made = np.maximum(made, np.asarray(resized(probabilities(soft.path), SIDE), dtype=np.float32))
    for mask in at_moment(told.masks, time_s):
        made = np.maximum(made, np.asarray(resized(mask.pixels, SIDE), dtype=np.float32))
    return made


def _together(parts: Iterable[npt.NDArray[np.bool_]]) -> npt.NDArray[np.bool_]:
    made = np.zeros((SIDE, SIDE), dtype=np.bool_)
    for part in parts:
        made |= part
    return made
