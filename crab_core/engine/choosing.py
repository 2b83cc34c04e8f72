"""Tasks that compare several clips: the candidates are laid end to end and shown with the clip as one.

Source: Crab+ shows two videos as one of all their frames, and two sounds as one waveform. Letters: N frames, H height,
W width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.engine.candidates import each, probe_each, shows
from crab_core.engine.memory import memory_told
from crab_core.engine.notes import notes_of
from crab_core.types import AudioState, Canvas, Clip, Decoding, Prompt, Request, Result, View

if TYPE_CHECKING:
    from crab_core.engine.session import Seen
    from crab_core.engine.stopwatch import Stopwatch
    from crab_core.families._base import OnText
    from crab_core.tasks._base import Task

Frames = npt.NDArray[np.uint8]


def answer_by_choosing(
    seen: Seen,
    request: Request,
    task: Task,
    prompt: Prompt,
    decoding: Decoding,
    on_text: OnText | None,
    watch: Stopwatch,
) -> Result:
    """Which of the request's candidates belongs to its clip: the answer `1` or `2`, with a note which file that is.

    Raises InputError for a file that lacks pictures, AudioMissing for one that lacks sound, and what a single answer
    raises.
    """
    began, network = time.perf_counter(), seen.model.network
    asked = each(request)
    with watch("probe"):
        lengths = [found.duration_s for found in probe_each(request, task)]
    views = [network.view(task.name, length) for length in lengths]
    with watch("decode"), memory_told(f"decoding '{request.clip}'"):
        clips = [
            _decoded(one, _wanted(view, shows=shows(task, number)), network.frame_size)
            for number, (one, view) in enumerate(zip(asked, views, strict=True))
        ]
    clip = joined(clips[0], clips[1:], task)
    with watch("encode"), memory_told(f"looking at '{clip.path}'"):
        encoded = network.encode(clip, task.name)
    with watch("generate"), memory_told(f"answering about '{clip.path}'"):
        generated = network.generate(encoded, prompt, decoding, on_text)
    with watch("read"):
        reading = task.read(generated.text, Canvas(clip.duration_s, 1, 1.0, clip.size, network.canvas_size))
    named = ", ".join(f"{number} is '{path}'" for number, path in enumerate(request.choices, start=1))
    return Result(
        id=request.id or request.clip.name,
        model=seen.model.name,
        task=task.name,
        question=None,
        answer=reading.answer,
        events=(),
        boxes=(),
        raw_text=generated.text,
        audio=clip.audio,
        duration_s=clip.duration_s,
        seconds=time.perf_counter() - began,
        timings_s=dict(watch.spent_s),
        notes=(named, *notes_of(seen.model.header, task.name, View((), ()), clip, encoded, generated, reading)),
        seed=decoding.seed,
    )


def joined(clip: Clip, candidates: Sequence[Clip], task: Task) -> Clip:
    """The clip with the candidates' frames, or their sound, one after another in the place of its own.

    Frames of other sizes are fitted into the first candidate's, with black beside them, so that nothing is distorted.
    """
    notes = [*clip.notes, *(f"'{one.path}': {note}" for one in candidates for note in one.notes)]
    starts_s = [sum(one.duration_s for one in candidates[:number]) for number in range(len(candidates))]
    if task.chooses == "video":
        first = candidates[0].frames
        frames = np.concatenate([fitted(one.frames, (first.shape[2], first.shape[1])) for one in candidates])
        times = np.concatenate([one.frame_times_s + start for one, start in zip(candidates, starts_s, strict=True)])
        return replace(clip, frames=frames, frame_times_s=times, size=candidates[0].size, notes=tuple(notes))
    windows = tuple(
        (start + begin, start + end)
        for one, start in zip(candidates, starts_s, strict=True)
        for begin, end in one.sound_windows_s
    )
    waveform = np.concatenate([one.waveform for one in candidates])
    heard: AudioState = "silent" if all(one.audio == "silent" for one in candidates) else "replaced"
    return replace(clip, waveform=waveform, sound_windows_s=windows, audio=heard, notes=tuple(notes))


def fitted(frames: Frames, size: tuple[int, int]) -> Frames:
    """Frames (N, H, W, 3) inside (W, H) = `size`, in the middle, their proportions kept."""
    height, width = frames.shape[1:3]
    if (width, height) == size:
        return frames
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    made = np.zeros((len(frames), size[1], size[0], 3), np.uint8)
    for number, frame in enumerate(frames):
        small = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
        made[number, top : top + inner[1], left : left + inner[0]] = small
    return made


def _wanted(view: View, *, shows: bool) -> View:
    return replace(view, sound_windows_s=()) if shows else replace(view, frame_times_s=())


def _decoded(request: Request, view: View, size: tuple[int, int] | None) -> Clip:
    """The pictures or the sound of one file, with the notes that concern them."""
    from crab_core.media import load_clip

    clip = load_clip(request.clip, view, audio_path=request.audio_path, frame_size=size)
    if view.sound_windows_s:
        return clip
    return replace(clip, notes=tuple(note for note in clip.notes if "sound" not in note))
