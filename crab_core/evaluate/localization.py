"""Audio-visual event localization (AVE): the one event that is both seen and heard, and its seconds."""

from __future__ import annotations

from collections.abc import Sequence

from crab_core.data.sample import label_key
from crab_core.evaluate.bootstrap import Counts, counts
from crab_core.evaluate.rows import EventRow
from crab_core.evaluate.seconds import second_labels
from crab_core.types import Event


def class_accuracy(rows: Sequence[EventRow]) -> Counts:
    """Clips whose first event has the true label; telling no event is right where there is none."""
    return counts(
        "share", [row.clip for row in rows], [(_first(row.predicted) == _first(row.truth), 1) for row in rows]
    )


def second_accuracy(rows: Sequence[EventRow]) -> Counts:
    """Seconds with the right label, class or background, over all seconds.

    Ends are exclusive on both sides. Every clip counts in full; a model that says nothing is right only in the
    background seconds.
    """
    return counts("share", [row.clip for row in rows], [(_same_seconds(row), row.seconds) for row in rows])


def exact_rate(rows: Sequence[EventRow]) -> Counts:
    """Clips in which every second has the right label: the class, the start and the end are right."""
    return counts("share", [row.clip for row in rows], [(_same_seconds(row) == row.seconds, 1) for row in rows])


def _first(events: Sequence[Event]) -> str | None:
    return label_key(events[0].label) if events else None


def _same_seconds(row: EventRow) -> int:
    told, true = second_labels(row.predicted, row.seconds), second_labels(row.truth, row.seconds)
    return sum(one == other for one, other in zip(told, true, strict=True))
