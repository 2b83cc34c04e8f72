"""Tasks about single pictures: which moments of a clip are asked about, what is shown of each, and one result of all.

A moment is a time in seconds of the clip. A prompt that shows the video shows the window of the trained length in which
the moment lies, with its picture in the place of that second's frame; windows begin at whole multiples of their length,
so that the moments of a window share what was encoded. A prompt that shows only a picture shows that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from crab_core.engine.drawing import Told, drawing_for
from crab_core.engine.masks import masks_of
from crab_core.engine.memory import memory_told
from crab_core.engine.notes import notes_of
from crab_core.errors import UsageError
from crab_core.families._base import MASK_LOGITS, MaskNetwork
from crab_core.progress import Listener, Progress, ignore
from crab_core.tasks.pictures import at_second, is_nothing, ordinal
from crab_core.tasks.wording import is_plus
from crab_core.types import Answer, AudioState, Box, Canvas, Decoding, Mask, Point, Prompt, Request, Result, View

if TYPE_CHECKING:
    from crab_core.engine.session import Seen
    from crab_core.engine.stopwatch import Stopwatch
    from crab_core.families._base import Encoded, Generated, Network, OnText
    from crab_core.tasks._base import Task

MOST_MOMENTS = 100_000


@dataclass(frozen=True, slots=True)
class Look:
    """What is shown for a moment: a view, and which of its frames is the picture."""

    view: View
    picture: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What was said of one moment."""

    at_s: float
    text: str
    answer: Answer | None
    boxes: tuple[Box, ...]
    points: tuple[Point, ...]
    masks: tuple[Mask, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    audio: AudioState
    size: tuple[int, int]


def moments_of(request: Request, duration_s: float) -> tuple[float, ...]:
    """The seconds that a request asks about, ascending: those it names, else one every `every_s` from 0 on.

    Raises UsageError for a time before or beyond the clip, and for more times than anyone can look at.
    """
    for at_s in request.at_s:
        if not 0 <= at_s <= duration_s:  # also false for nan
            raise UsageError(
                f"'{at_s:g}' s lies outside '{request.clip}', which lasts {duration_s:.2f} s",
                hint=f"Give times from 0 to {math.floor(duration_s * 100) / 100:g}.",
            )
    if request.at_s:
        return tuple(sorted(set(request.at_s)))
    count = max(1, math.ceil(duration_s / request.every_s - 1e-6))
    if count > MOST_MOMENTS:
        raise UsageError(
            f"every {request.every_s:g} s of {duration_s:.0f} s are {count} pictures, at most {MOST_MOMENTS} are asked",
            hint=f"Ask less often, such as every {duration_s / 1000:.3g} s.",
        )
    return tuple(round(index * request.every_s, 6) for index in range(count))


def check_tracking(request: Request, duration_s: float) -> None:
    """Raises UsageError for more tracked masks than anyone can look at."""
    if request.track_s is not None and duration_s / request.track_s > MOST_MOMENTS:
        raise UsageError(
            f"every {request.track_s:g} s of {duration_s:.0f} s are more than {MOST_MOMENTS} masks",
            hint="Give a longer --track.",
        )


def look_at(network: Network, task: Task, prompt: Prompt, profile: str, duration_s: float, at_s: float) -> Look:
    """The view for a moment, by what the prompt shows and plays."""
    assert task.moment is not None
    heard_s = task.moment.heard_s.get(profile, 1)
    if "video" not in prompt.media and heard_s == 1:
        start = max(0.0, min(at_s, duration_s - 1))
        return Look(View((at_s,), ((start, start + 1.0),)))
    window_s = task.moment.window_s if "video" in prompt.media else heard_s
    start = min(at_s // window_s * window_s, float(max(0, math.floor(duration_s - window_s))))
    looks = max(1, min(window_s, math.floor(duration_s - start + 0.5)))
    base = network.view(task.name, float(looks))
    sounds = tuple((start + begin, start + end) for begin, end in base.sound_windows_s)
    if "video" not in prompt.media:
        return Look(View((at_s,), sounds))
    times = [start + place for place in base.frame_times_s]
    index = max(0, min(math.floor(at_s - start), len(times) - 1))
    times[index] = at_s
    return Look(View(tuple(times), sounds), index)


def answer_at_moments(
    seen: Seen,
    request: Request,
    task: Task,
    decoding: Decoding,
    on_text: OnText | None,
    watch: Stopwatch,
    on_progress: Listener = ignore,
    *,
    own_masks: bool = False,
) -> Result:
    """One result of all moments of a request: boxes and masks with their times, answers and texts one after another.

    With `own_masks` no masker is asked, only the network. Raises UsageError for times beyond the clip, ModelError for
    masks that nobody draws, and what a single answer raises.
    """
    began, header = time.perf_counter(), seen.model.header
    duration_s = seen.probe(task, watch).duration_s
    with watch("check"):
        times_s = moments_of(request, duration_s)
        check_tracking(request, duration_s)
        drawing = None if own_masks else drawing_for(header, seen.model.masker, request, task)
    asks = task if drawing is None else drawing.asks
    asked = replace(request, task=asks.name, question=request.question if asks.needs_question else None)
    draws = drawing is None and not is_plus(header.profile)
    found = []
    for done, at_s in enumerate(times_s):
        on_progress(Progress("moments", done, len(times_s), "moments", f"at {at_s:g} s"))
        one = _ask(seen, asked, asks, decoding, on_text if len(times_s) == 1 else None, watch, at_s, draws)
        if drawing is not None:
            until_s = times_s[done + 1] if done + 1 < len(times_s) else max(duration_s, at_s)
            with watch("masks"), memory_told(f"drawing masks of '{request.clip}'"):
                told = Told(at_s, one.size, one.answer, one.boxes, one.points)
                masks, problems = drawing.masks(told, until_s)
            one = replace(one, masks=masks, problems=(*one.problems, *problems))
        found.append(one)
    on_progress(Progress("moments", len(times_s), len(times_s), "moments"))
    return Result(
        id=request.id or request.clip.name,
        model=seen.model.name,
        task=task.name,
        question=request.question,
        answer=_answer(found),
        events=(),
        boxes=tuple(box for one in found for box in one.boxes),
        raw_text="\n".join(f"[{one.at_s:g} s] {one.text}" if len(found) > 1 else one.text for one in found),
        audio=_loudest([one.audio for one in found]),
        duration_s=duration_s,
        seconds=time.perf_counter() - began,
        timings_s=dict(watch.spent_s),
        notes=(*([] if drawing is None else [drawing.note]), *_notes(found)),
        seed=decoding.seed,
        masks=tuple(mask for one in found for mask in one.masks),
        points=tuple(point for one in found for point in one.points),
    )


def _ask(
    seen: Seen,
    request: Request,
    task: Task,
    decoding: Decoding,
    on_text: OnText | None,
    watch: Stopwatch,
    at_s: float,
    draws: bool,
) -> _Found:
    """What the network says of one moment, and draws if it is to."""
    model = seen.model
    _, wording = seen.prompt(request, watch)
    look = look_at(model.network, task, wording, model.header.profile, seen.probe(task, watch).duration_s, at_s)
    prompt = at_second(wording, look.picture + 1)
    clip, encoded = seen.encode_view(task, look.view, watch)
    encoded = encoded.at(look.picture)
    with watch("generate"), memory_told(f"answering about '{clip.path}'"):
        generated = seen.write(encoded, prompt, decoding, on_text)
    with watch("read"):
        reading = task.read(generated.text, Canvas(clip.duration_s, 1, 1.0, clip.size, model.network.canvas_size))
    label = reading.answer.text if reading.answer is not None else ""
    masks: tuple[Mask, ...] = ()
    problems = reading.problems
    if draws and "masks" in task.produces:
        with watch("masks"), memory_told(f"drawing masks of '{clip.path}'"):
            drawn, forced = _with_mask(model.network, encoded, prompt, task, generated, label, look.picture)
            masks, told = masks_of(drawn, label, at_s, clip.size)
        problems = (*problems, *forced, *told)
    return _Found(
        at_s,
        generated.text,
        reading.answer,
        tuple(replace(box, time_s=at_s) for box in reading.boxes),
        tuple(replace(point, time_s=at_s) for point in reading.points),
        masks,
        notes_of(model.header, task.name, look.view, clip, encoded, generated, replace(reading, problems=())),
        problems,
        clip.audio,
        clip.size,
    )


def _with_mask(
    network: Network, encoded: Encoded, prompt: Prompt, task: Task, generated: Generated, label: str, picture: int
) -> tuple[Generated, tuple[str, ...]]:
    """The answer with a mask: its own, or the one of the answer that the task teaches, if it names something."""
    told = task.moment.told if task.moment is not None else None
    if MASK_LOGITS in generated.extras or told is None or is_nothing(label) or not isinstance(network, MaskNetwork):
        return generated, ()
    forced = network.force(encoded, prompt, told(label, ordinal(picture + 1)))
    return forced, ("the model named something and told no mask: its mask is that of the answer it was taught",)


def _answer(found: Sequence[_Found]) -> Answer | None:
    """The answer at one moment as it is; of several, each run of equal answers with its times."""
    if len(found) == 1:
        return found[0].answer
    runs: list[tuple[str, list[float]]] = []
    for one in found:
        text = one.answer.text if one.answer is not None and one.answer.text else "(unread)"
        if not runs or runs[-1][0] != text:
            runs.append((text, []))
        runs[-1][1].append(one.at_s)
    return Answer("; ".join(f"{text} {_span(times_s)}" for text, times_s in runs))


def _span(times_s: Sequence[float]) -> str:
    return f"at {times_s[0]:g} s" if len(times_s) == 1 else f"from {times_s[0]:g} to {times_s[-1]:g} s"


def _notes(found: Sequence[_Found]) -> tuple[str, ...]:
    """What holds for all moments once; what could not be read with the times at which that was."""
    problems: dict[str, list[float]] = {}
    for one in found:
        for problem in one.problems:
            problems.setdefault(problem, []).append(one.at_s)
    if len(found) == 1:
        told = list(problems)
    else:
        told = [f"at {', '.join(f'{at_s:g}' for at_s in times_s)} s: {text}" for text, times_s in problems.items()]
    return tuple(dict.fromkeys([*told, *(note for one in found for note in one.notes)]))


def _loudest(states: Sequence[AudioState]) -> AudioState:
    """Sound was used if it was at any moment."""
    order: tuple[AudioState, ...] = ("replaced", "used", "silent", "absent")
    return min(states, key=order.index)
