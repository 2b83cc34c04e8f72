"""Everything that a model can say of a clip in one result: a caption, events, and boxes and masks where they are heard.

The clip is decoded and encoded once for each view of it. The events choose the moments at which boxes and masks are
looked for. What the model was not trained on, or what the clip has no sound or pictures for, is left out and told.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from crab_core.engine.stopwatch import Stopwatch
from crab_core.engine.where import PLACING, middles
from crab_core.errors import AudioMissing, InputError
from crab_core.progress import Listener, Note, ignore
from crab_core.types import Decoding, Event, Request, Result

if TYPE_CHECKING:
    from crab_core.engine.session import Seen
    from crab_core.weights.folder import Header

SCAN = "scan"
CAPTION, EVENTS = ("avcap",), ("avvp", "ave")
MASKING = ("ms3", "s4")
PARTS = {"caption": CAPTION, "events": EVENTS, "boxes": PLACING, "masks": MASKING}


def scan(seen: Seen, request: Request, seed: int = 0, on_progress: Listener = ignore) -> Result:
    """The parts that the model and the clip allow, as one result of the task `scan`.

    Boxes and masks are of `request.at_s`, else of the middle of every event, else of every `request.every_s` seconds.
    Raises InputError if the clip allows no part, ModelError or UsageError as the parts do.
    """
    began, watch = time.perf_counter(), Stopwatch()
    parts: dict[str, Result] = {}
    notes: list[str] = []
    for part, names in PARTS.items():
        task = chosen(seen.model.header, names)
        if task is None:
            notes.append(f"no {part}: model '{seen.model.name}' was not trained on {' or '.join(names)}")
            continue
        on_progress(Note(f"{part}: task '{task}'"))
        try:
            parts[part] = _part(seen, request, part, task, parts, seed, watch, on_progress)
        except (AudioMissing, InputError) as err:
            if part == "masks" and not parts:
                raise
            notes.append(f"no {part}: {err.message}")
    if not parts:
        raise InputError(f"nothing can be said of '{request.clip}': {'; '.join(notes)}", hint="Ask another model.")
    return _joined(seen, request, parts, notes, watch, time.perf_counter() - began, seed)


def chosen(header: Header, names: tuple[str, ...]) -> str | None:
    """The first of the tasks that the model was trained on; the first if the header names none."""
    return next((name for name in names if name in header.tasks or not header.tasks), None)


def _part(
    seen: Seen,
    request: Request,
    part: str,
    task: str,
    parts: dict[str, Result],
    seed: int,
    watch: Stopwatch,
    on_progress: Listener,
) -> Result:
    from crab_core.registry import TASKS

    known = TASKS[task].load()
    asked = replace(request, task=task, question=None, where=False)
    if part in ("boxes", "masks"):
        asked = replace(asked, window_s=None, stride_s=None, at_s=request.at_s or moments(parts))
    else:
        asked = replace(asked, at_s=())
        if task not in EVENTS:
            asked = replace(asked, window_s=None, stride_s=None)
    return seen.answer(asked, Decoding(known.max_new_tokens, seed=seed), None, watch, on_progress)


def moments(parts: dict[str, Result]) -> tuple[float, ...]:
    """The middles of the events that are heard, else of those that are seen; none if there are no events."""
    events = parts["events"].events if "events" in parts else ()
    return middles(events) or middles(tuple(_as_heard(event) for event in events))


def _as_heard(event: Event) -> Event:
    return replace(event, track="both")


def _joined(
    seen: Seen,
    request: Request,
    parts: dict[str, Result],
    notes: list[str],
    watch: Stopwatch,
    seconds: float,
    seed: int,
) -> Result:
    caption, first = parts.get("caption"), next(iter(parts.values()))
    return Result(
        id=request.id or request.clip.name,
        model=seen.model.name,
        task=SCAN,
        question=None,
        answer=caption.answer if caption is not None else None,
        events=parts["events"].events if "events" in parts else (),
        boxes=parts["boxes"].boxes if "boxes" in parts else (),
        raw_text="\n".join(f"[{part}] {one.raw_text}" for part, one in parts.items()),
        audio=first.audio,
        duration_s=first.duration_s,
        seconds=seconds,
        timings_s=dict(watch.spent_s),
        notes=tuple(dict.fromkeys((*notes, *(note for one in parts.values() for note in one.notes)))),
        seed=seed,
        masks=parts["masks"].masks if "masks" in parts else (),
        consistency=tuple(doubt for one in parts.values() for doubt in one.consistency),
    )
