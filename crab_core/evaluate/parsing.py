"""Audio-visual video parsing (AVVP): every event that is heard and every event that is seen.

Two protocols stand side by side. `segment_f1` adds up seconds over all clips (micro). `video_f` is the official one
of the LLP benchmark (Tian et al., ECCV 2020): an F for each class of a video that is told or true, averaged over
these classes (1 if there is none) and then over videos; at segment level seconds are counted, at event level runs of
seconds that match at an IoU of at least 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from crab_core.evaluate.bootstrap import Counts, Floats, counts
from crab_core.evaluate.rows import EventRow
from crab_core.evaluate.seconds import Grid, grid, labels_of, runs
from crab_core.types import Track

Level = Literal["segment", "event"]
Aspect = Literal["audio", "visual", "both", "type", "event"]
MIN_IOU = 0.5


def segment_f1(rows: Sequence[EventRow], track: Track) -> Counts:
    """F1 over every (label, second) of a track, all clips together."""
    return counts("f1", [row.clip for row in rows], [_confusion(row, track, "segment").sum(axis=0) for row in rows])


def video_f(rows: Sequence[EventRow], aspect: Aspect, level: Level) -> Counts:
    """The official F: per class and video, averaged over the video's classes, then over videos.

    `aspect` is one track; or `type`, the mean of the F of audio, visual and both (Type@AV); or `event`, the F of
    audio and visual hits and misses added up for each class (Event@AV).
    """
    return counts("share", [row.clip for row in rows], [(_video(row, aspect, level), 1) for row in rows])


def exact_rate(rows: Sequence[EventRow], track: Track) -> Counts:
    """Clips in which the whole list of a track is right: every label with every second, nothing more."""
    return counts(
        "share",
        [row.clip for row in rows],
        [(_confusion(row, track, "segment")[:, 1:].sum() == 0, 1) for row in rows],
    )


def _video(row: EventRow, aspect: Aspect, level: Level) -> float:
    if aspect == "type":
        return float(np.mean([_mean_f(_confusion(row, track, level)) for track in ("audio", "visual", "both")]))
    if aspect == "event":
        return _mean_f(_confusion(row, "audio", level) + _confusion(row, "visual", level))
    return _mean_f(_confusion(row, aspect, level))


def _mean_f(table: Floats) -> float:
    """The mean F of classes (classes, 3) that are told or true; 1 if there is none."""
    present = table[table.sum(axis=1) > 0]
    return (
        float(np.mean(2 * present[:, 0] / (2 * present[:, 0] + present[:, 1] + present[:, 2]))) if len(present) else 1.0
    )


def _confusion(row: EventRow, track: Track, level: Level) -> Floats:
    """True positives, false positives and false negatives of each label of the clip, (labels, 3)."""
    labels = labels_of(row.predicted, row.truth)
    told = grid(row.predicted, track, row.seconds, labels)
    true = grid(row.truth, track, row.seconds, labels)
    if level == "segment":
        table = np.stack([told & true, told & ~true, ~told & true], axis=-1)  # (labels, seconds, 3)
        return table.sum(axis=1).astype(np.float64)
    pairs = zip(told, true, strict=True)
    return np.array([_matches(one, other) for one, other in pairs], dtype=np.float64).reshape(len(labels), 3)


def _matches(told: Grid, true: Grid) -> tuple[int, int, int]:
    """Runs that match, told runs without a match, true runs without a match.

    Runs of one label never touch, so that a run reaches an IoU of 0.5 with at most one other: no assignment is needed.
    """
    told_runs, true_runs = runs(told), runs(true)
    hits = sum(_iou(one, other) >= MIN_IOU for one in told_runs for other in true_runs)
    return hits, len(told_runs) - hits, len(true_runs) - hits


def _iou(one: tuple[int, int], other: tuple[int, int]) -> float:
    shared = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] - shared)
