"""Clips that are longer than what a network was trained on: overlapping windows, one set of events in true seconds.

Each window is shown as if it were a clip of its own. Only a few windows are in memory at once, however long the clip.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crab_core.engine.consistency import Scale, contradictions
from crab_core.engine.memory import memory_told
from crab_core.engine.merging import Window, WindowEvents, merge
from crab_core.engine.notes import notes_of
from crab_core.errors import InputError, UsageError
from crab_core.progress import Listener, Progress, ignore
from crab_core.tasks.grammar import told_events
from crab_core.types import Answer, AudioState, Canvas, Clip, Decoding, Event, Prompt, Request, Result, View

if TYPE_CHECKING:
    from crab_core.engine.session import Model, Seen
    from crab_core.engine.stopwatch import Stopwatch
    from crab_core.families._base import Encoded, Generated
    from crab_core.tasks._base import Task

MOST_WINDOWS = 100_000
TOGETHER = 8  # windows that are answered at once, where the answers do not depend on it
LOUDEST: tuple[AudioState, ...] = ("replaced", "used", "silent", "absent")
_REST_S = 0.5  # a shorter end of the clip gets no window of its own


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of one window; `lost` says why nothing could be, else None."""

    window: Window
    text: str = ""
    events: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()
    audio: AudioState = "absent"
    doubts: tuple[str, ...] = ()
    lost: InputError | None = None


def windows_for(model: Model, task: Task, request: Request, duration_s: float) -> tuple[Window, ...]:
    """The windows of a clip, from its start on; none if it is shown as a whole.

    Raises UsageError for a window that is longer than what the model knows, a stride that is longer than the window,
    and more windows than anyone waits for.
    """
    if not task.in_windows:
        return ()
    whole = model.network.view(task.name, duration_s)
    window_s = request.window_s
    if window_s is None:
        window_s = float(len(whole.frame_times_s) or len(whole.sound_windows_s))
        if whole.second_s <= 1.0:
            return ()
    elif model.network.view(task.name, window_s).second_s > 1.0:
        known = len(whole.frame_times_s) or len(whole.sound_windows_s)
        raise UsageError(
            f"a window of '{window_s:g}' s is longer than what model '{model.name}' knows",
            hint=f"Give --window {known} or less.",
        )
    stride_s = window_s / 2 if request.stride_s is None else request.stride_s
    if stride_s > window_s:
        raise UsageError(
            f"a stride of '{stride_s:g}' s leaves seconds out between windows of {window_s:g} s",
            hint=f"Give --stride {window_s:g} or less.",
        )
    if duration_s / stride_s > MOST_WINDOWS:
        raise UsageError(
            f"every {stride_s:g} s of {duration_s:.0f} s are more than {MOST_WINDOWS} windows",
            hint="Give a longer --stride.",
        )
    windows = spread(duration_s, window_s, stride_s)
    return windows if len(windows) > 1 else ()


def spread(duration_s: float, window_s: float, stride_s: float) -> tuple[Window, ...]:
    """Windows of that length, one every `stride_s`, until the end is reached; the last one ends with the clip.

    >>> [(one.start_s, one.end_s) for one in spread(18.0, 10.0, 5.0)]
    [(0.0, 10.0), (5.0, 15.0), (10.0, 18.0)]
    """
    windows = []
    for index in itertools.count():
        start_s = round(index * stride_s, 6)
        windows.append(Window(start_s, min(start_s + window_s, duration_s)))
        if start_s + window_s >= duration_s - _REST_S:
            return tuple(windows)
    raise AssertionError


def answer_in_windows(
    seen: Seen,
    request: Request,
    task: Task,
    prompt: Prompt,
    decoding: Decoding,
    windows: Sequence[Window],
    watch: Stopwatch,
    on_progress: Listener = ignore,
) -> Result:
    """One result of all windows: merged events, and every window's text with its times.

    A window that cannot be decoded is left out and told in a note; if none can be, the first one's error is raised.
    Raises what a single answer raises.
    """
    began = time.perf_counter()
    told: list[_Told] = []
    size = TOGETHER if seen.model.is_exact and decoding.temperature == 0 else 1
    for at in range(0, len(windows), size):
        on_progress(Progress("windows", at, len(windows), "windows", f"at {windows[at].start_s:g} s"))
        told += _ask(seen, task, prompt, decoding, windows[at : at + size], watch)
    on_progress(Progress("windows", len(windows), len(windows), "windows"))
    heard = [one for one in told if one.lost is None]
    if not heard:
        raise next(one.lost for one in told if one.lost is not None)
    with watch("read"):
        events = merge([WindowEvents(one.window, one.events) for one in heard])
    return Result(
        id=request.id or request.clip.name,
        model=seen.model.name,
        task=task.name,
        question=request.question,
        answer=Answer(told_events(events)),
        events=events,
        boxes=(),
        raw_text="\n".join(f"[{_span(one.window)}] {one.text}" for one in heard),
        audio=min((one.audio for one in heard), key=LOUDEST.index),
        duration_s=windows[-1].end_s,
        seconds=time.perf_counter() - began,
        timings_s=dict(watch.spent_s),
        notes=(_cut(windows), *_notes(told)),
        seed=decoding.seed,
        consistency=tuple(f"window {_span(one.window)}: {doubt}" for one in heard for doubt in one.doubts),
    )


def _ask(
    seen: Seen, task: Task, prompt: Prompt, decoding: Decoding, windows: Sequence[Window], watch: Stopwatch
) -> list[_Told]:
    """What the network says of some windows, together."""
    told: dict[Window, _Told] = {}
    looks: list[tuple[Window, View, Clip, Encoded]] = []
    for window in windows:
        view = _later(seen.model.network.view(task.name, window.length_s), window.start_s)
        try:
            looks.append((window, view, *seen.encode_view(task, view, watch)))
        except InputError as err:
            told[window] = _Told(window, lost=err)
    if looks:
        with watch("generate"), memory_told(f"answering about '{seen.request.clip}'"):
            encoded = [one for _, _, _, one in looks]
            texts = seen.model.network.generate_batch(encoded, [prompt] * len(looks), decoding)
        with watch("read"):
            for (window, view, clip, one), text in zip(looks, texts, strict=True):
                told[window] = _read(seen.model, task, window, view, clip, one, text)
    return [told[window] for window in windows]


def _read(
    model: Model, task: Task, window: Window, view: View, clip: Clip, encoded: Encoded, generated: Generated
) -> _Told:
    """A window's text as events of the clip."""
    places = len(view.frame_times_s) or len(view.sound_windows_s)
    reading = task.read(generated.text, Canvas(window.length_s, places, view.second_s, clip.size))
    start_s = window.start_s
    doubts = contradictions(reading, clip, Scale(view.second_s, start_s))
    events = tuple(
        replace(event, start_s=round(event.start_s + start_s, 3), end_s=round(event.end_s + start_s, 3))
        for event in reading.events
    )
    notes = notes_of(model.header, task.name, view, clip, encoded, generated, reading)
    return _Told(window, generated.text, events, notes, clip.audio, doubts)


def _later(view: View, start_s: float) -> View:
    """The same view of a stretch that begins later."""
    return View(
        tuple(time_s + start_s for time_s in view.frame_times_s),
        tuple((begin_s + start_s, end_s + start_s) for begin_s, end_s in view.sound_windows_s),
        view.second_s,
    )


def _span(window: Window) -> str:
    return f"{window.start_s:g}-{window.end_s:g} s"


def _cut(windows: Sequence[Window]) -> str:
    """How the clip was cut."""
    first, second = windows[:2]
    return (
        f"the clip lasts {windows[-1].end_s:.0f} s: it was looked at in {len(windows)} windows "
        f"of {first.length_s:g} s, one every {second.start_s - first.start_s:g} s"
    )


def _notes(told: Sequence[_Told]) -> Iterator[str]:
    """What holds for all windows as it is; what holds for some with the first window and how many more."""
    noted: dict[str, list[Window]] = {}
    for one in told:
        for note in (f"left out: {one.lost.message}",) if one.lost is not None else one.notes:
            noted.setdefault(note, []).append(one.window)
    used = sum(one.lost is None for one in told)
    for note, windows in noted.items():
        if len(windows) >= used and not note.startswith("left out"):
            yield note
        else:
            more = f" and {len(windows) - 1} more" if len(windows) > 1 else ""
            yield f"window {_span(windows[0])}{more}: {note}"
