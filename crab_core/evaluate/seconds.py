"""Events as seconds: which label holds in each second of a clip, and the runs that seconds form.

A second counts as covered if its middle lies in the event, so an event from 3 to 8 s covers the seconds 3 to 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from crab_core.data.sample import label_key
from crab_core.types import Event, Track

Grid = npt.NDArray[np.bool_]
BACKGROUND = ""


def labels_of(*told: Iterable[Event]) -> list[str]:
    """Every label of the events, each once, sorted."""
    return sorted({label_key(event.label) for events in told for event in events})


def covered(event: Event, seconds: int) -> Grid:
    """Which of the seconds an event covers, (seconds,)."""
    middles = np.arange(seconds) + 0.5
    return (event.start_s <= middles) & (middles < event.end_s)


def grid(events: Sequence[Event], track: Track, seconds: int, labels: Sequence[str]) -> Grid:
    """What holds when, (labels, seconds).

    An event of track `both` counts as heard and as seen; `track="both"` gives the seconds in which a label is heard
    and seen at once, whether one event says so or two.
    """
    if track == "both":
        return grid(events, "audio", seconds, labels) & grid(events, "visual", seconds, labels)
    table = np.zeros((len(labels), seconds), dtype=np.bool_)
    for event in events:
        if event.track in (track, "both"):
            table[labels.index(label_key(event.label))] |= covered(event, seconds)
    return table


def second_labels(events: Sequence[Event], seconds: int) -> list[str]:
    """One label a second, BACKGROUND where there is none; where events overlap the one told first holds."""
    held = [BACKGROUND] * seconds
    for event in reversed(events):
        for second in np.flatnonzero(covered(event, seconds)):
            held[int(second)] = label_key(event.label)
    return held


def runs(row: Grid) -> list[tuple[int, int]]:
    """The unbroken runs [start, end) of true seconds: `[0 1 1 0 1]` -> `[(1, 3), (4, 5)]`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
