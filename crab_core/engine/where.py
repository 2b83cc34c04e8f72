"""Boxes of what sounds, added to a result of events: at the times that are asked for, else once an event.

The boxes come from a task about single pictures: the one that `placing_task` names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from crab_core.engine.moments import answer_at_moments, moments_of
from crab_core.engine.placing import placing_task
from crab_core.progress import Listener, ignore
from crab_core.types import Decoding, Event, Request, Result

if TYPE_CHECKING:
    from crab_core.engine.session import Seen
    from crab_core.engine.stopwatch import Stopwatch


def check_where(seen: Seen, request: Request, watch: Stopwatch) -> None:
    """Refuse before the events are told what would be refused after them.

    Raises ModelError for a model without boxes, AudioMissing or InputError for a clip without sound or pictures, and
    UsageError for times beyond the clip.
    """
    probe = seen.probe(placing_task(seen.model.header), watch)
    if request.at_s:
        moments_of(request, probe.duration_s)


def with_boxes(
    seen: Seen, request: Request, result: Result, decoding: Decoding, watch: Stopwatch, on_progress: Listener = ignore
) -> Result:
    """The result with boxes at the request's times, else at the middle of each event that is heard."""
    task = placing_task(seen.model.header)
    times_s = request.at_s or middles(heard(result.events))
    if not times_s:
        return result.with_notes(("nothing was heard, so no boxes were looked for",))
    asked = replace(request, task=task.name, at_s=times_s, where=False, window_s=None, stride_s=None)
    limited = replace(decoding, max_new_tokens=min(decoding.max_new_tokens, task.max_new_tokens))
    found = answer_at_moments(seen, asked, task, limited, None, watch, on_progress)
    return replace(
        result,
        boxes=found.boxes,
        raw_text=f"{result.raw_text}\n{found.raw_text}",
        seconds=result.seconds + found.seconds,
        timings_s=found.timings_s,
        notes=tuple(dict.fromkeys((*result.notes, *found.notes))),
    )


def middles(events: Iterable[Event]) -> tuple[float, ...]:
    """The middle of every event, in hundredths of a second, each once, in order."""
    return tuple(sorted({round((event.start_s + event.end_s) / 2, 2) for event in events}))


def heard(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events that are heard, seen or not."""
    return tuple(event for event in events if event.track != "visual")
