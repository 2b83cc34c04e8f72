"""Events told of overlapping windows become events of the whole clip. Pure: no clip, no network.

Where windows overlap, each second is judged by the windows that cover it, the nearer its middle a second lies the more
a window counts: an event that is cut by a window's edge is told badly there and well in the next window.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crab_core.types import Event, Track

GAP_S = 1.0  # a shorter pause, or a shorter event, is rounding: models tell whole seconds
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of the clip that is shown to the network as if it were a clip, in seconds."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s

    @property
    def middle_s(self) -> float:
        """Its middle."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class WindowEvents:
    """What was told of a window, in seconds of the clip."""

    window: Window
    events: tuple[Event, ...]


def merge(told: Sequence[WindowEvents]) -> tuple[Event, ...]:
    """The events of the clip by start; those of one label (in any case) and one track never overlap or touch.

    `told` is in the windows' order. The events of a single window come out as they are, but for such overlaps.
    """
    labels: dict[tuple[str, Track], str] = {}
    for event in (event for one in told for event in one.events):
        labels.setdefault((_key(event.label), event.track), event.label)
    merged = [
        Event(label, start_s, end_s, track)
        for (key, track), label in labels.items()
        for start_s, end_s in _spans(told, key, track)
    ]
    return tuple(sorted(merged, key=lambda event: (event.start_s, event.end_s)))


def united(events: Sequence[Event]) -> tuple[Event, ...]:
    """Events of one label (in any case) and one track that overlap as one event, at the place of the first of them.

    A model that lists the same sound twice with other times has told of one sound. What only touches stays apart.
    """
    kept: list[Event] = []
    for event in events:
        twins = [one for one in kept if _overlap(one, event)]
        if not twins:
            kept.append(event)
            continue
        same = [*twins, event]
        whole = replace(twins[0], start_s=min(one.start_s for one in same), end_s=max(one.end_s for one in same))
        kept = [whole if one is twins[0] else one for one in kept if one is twins[0] or one not in twins]
    return tuple(kept)


def _overlap(one: Event, other: Event) -> bool:
    alike = one.track == other.track and _key(one.label) == _key(other.label)
    return alike and max(one.start_s, other.start_s) < min(one.end_s, other.end_s)


def _key(label: str) -> str:
    return " ".join(label.casefold().split())


@dataclass(frozen=True, slots=True)
class _Opinion:
    """When a window says that a label holds."""

    window: Window
    spans: tuple[tuple[float, float], ...]

    def weight(self, time_s: float) -> float:
        """0 at the edges and beyond, most in the middle."""
        return min(time_s - self.window.start_s, self.window.end_s - time_s)

    def holds(self, time_s: float) -> bool:
        """True if the label holds then, as far as this window knows."""
        return any(start_s <= time_s < end_s for start_s, end_s in self.spans)


def _spans(told: Sequence[WindowEvents], key: str, track: Track) -> Iterable[tuple[float, float]]:
    """When a label holds, without pauses and remnants that are shorter than GAP_S."""
    opinions = _concerned(told, key, track)
    spans: list[tuple[float, float]] = []
    first = 0
    for start_s, end_s in _pieces(opinions):
        while opinions[first].window.end_s <= start_s:
            first += 1
        if not _is_agreed((start_s + end_s) / 2, opinions, first):
            continue
        if spans and start_s - spans[-1][1] < GAP_S - _TINY:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))
    said = [end_s - start_s for one in opinions for start_s, end_s in one.spans]
    least_s = min(GAP_S, *said) - _TINY  # what a model tells as shorter is no remnant
    return [(round(start, 3), round(end, 3)) for start, end in spans if end - start >= least_s]


def _concerned(told: Sequence[WindowEvents], key: str, track: Track) -> list[_Opinion]:
    """The windows that tell the label and those that overlap them, so that work follows what is told of it."""
    opinions: list[_Opinion] = []
    for one in told:
        spans = tuple((e.start_s, e.end_s) for e in one.events if e.track == track and _key(e.label) == key)
        opinions.append(_Opinion(one.window, spans))
    telling = [one.window for one in opinions if one.spans]
    kept, at = [], 0
    for opinion in opinions:
        while at < len(telling) and telling[at].end_s <= opinion.window.start_s:
            at += 1
        if at < len(telling) and telling[at].start_s < opinion.window.end_s:
            kept.append(opinion)
    return kept


def _pieces(opinions: Sequence[_Opinion]) -> list[tuple[float, float]]:
    """The stretches within which no window changes its mind and, of two, none begins to outweigh the other."""
    edges: set[float] = set()
    for index, one in enumerate(opinions):
        edges |= {time_s for span in one.spans for time_s in span}
        edges |= {one.window.start_s, one.window.end_s}
        for later in range(index + 1, len(opinions)):
            other = opinions[later].window
            if other.start_s >= one.window.end_s:
                break
            edges.add((one.window.middle_s + other.middle_s) / 2)
    return list(itertools.pairwise(sorted(edges)))


def _is_agreed(time_s: float, opinions: Sequence[_Opinion], first: int) -> bool:
    """True if the windows that say so weigh as much as those that do not."""
    yes = no = 0.0
    for index in range(first, len(opinions)):
        if opinions[index].window.start_s >= time_s:
            break
        weight = max(0.0, opinions[index].weight(time_s))
        if opinions[index].holds(time_s):
            yes += weight
        else:
            no += weight
    return yes > 0 and yes >= no
