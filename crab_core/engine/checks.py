"""What can be said of a request before a model is loaded: task, question, file, sound. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from crab_core.errors import AudioMissing, InputError, ModelError, UsageError
from crab_core.registry import FAMILIES, TASKS, lookup
from crab_core.tasks._base import Task
from crab_core.tasks.matching import CANDIDATES
from crab_core.types import Request

if TYPE_CHECKING:
    from crab_core.media import Probe
    from crab_core.weights.folder import Header

OTHER_MODEL = "Choose one that was: --model NAME, see crab models list"
LONGEST_QUESTION = 4_000  # characters; the trained questions have under 200


def task_of(request: Request) -> Task:
    """The task of a request whose question was checked; opens no file.

    Raises UsageError for an unknown task and for a question that is lacking, empty, too long or not wanted.
    """
    task: Task = lookup(TASKS, request.task, kind="task").load()
    question = request.question
    if question is not None and len(question) > LONGEST_QUESTION:
        raise UsageError(
            f"the question has {len(question)} characters, at most {LONGEST_QUESTION} are read",
            hint=f"It begins with '{question[:40]}': is it a file's content?",
        )
    if task.needs_question and not (question or "").strip():
        missing = "needs a question" if question is None else f"needs a question, got '{question[:40]}'"
        raise UsageError(f"task '{task.name}' {missing}", hint=_example(request.clip, task.name))
    if question is not None and not task.needs_question:
        raise UsageError(
            f"task '{task.name}' takes no question, got '{question[:40]}'",
            hint=f"Leave the question out, or ask it: crab infer {quote(str(request.clip))} {quote(question[:40])}",
        )
    _check_choices(request, task)
    _check_windows(request, task)
    if request.where and not task.in_windows:
        raise UsageError(f"--where is for tasks that tell events, got task '{task.name}'", hint="Leave it out.")
    return task


def in_words(request: Request, task: Task) -> str | None:
    """What is asked in words: the question, with the answers to choose from where the task has them."""
    if task.chooses != "text" or request.question is None:
        return request.question
    from crab_core.tasks.avqa_options import with_options

    return with_options(request.question, request.choices)


def draws_masks(task: str) -> bool:
    """True for the name of a task whose results hold masks."""
    return task in TASKS and "masks" in TASKS[task].load().produces


def check_able(header: Header, task: Task) -> None:
    """Refuse a task that the model's family cannot be shown, or that must be learnt and was not; opens no weights.

    Raises ModelError.
    """
    family = FAMILIES.get(header.family)
    if task.compares and family is not None and not family.several_clips:
        raise ModelError(
            f"task '{task.name}' shows several clips at once, and model '{header.name}' looks at one",
            hint=OTHER_MODEL,
        )
    if task.must_be_learnt and header.tasks and task.name not in header.tasks:
        raise ModelError(untrained(header, task.name), hint=OTHER_MODEL)


def _check_choices(request: Request, task: Task) -> None:
    """Refuse choices that are lacking, too many or not wanted."""
    count = len(request.choices)
    if task.chooses is None:
        if count:
            raise UsageError(
                f"task '{task.name}' has nothing to choose from, got --choice '{request.choices[0][:40]}'",
                hint="Leave --choice out.",
            )
        return
    if task.compares and count != CANDIDATES:
        raise UsageError(
            f"task '{task.name}' compares {CANDIDATES} files, got {count}",
            hint=f"Name both: crab infer {quote(str(request.clip))} --task {task.name} --choice FILE --choice FILE",
        )
    if count < CANDIDATES or not all(one.strip() for one in request.choices):
        given = ", ".join(f"'{one}'" for one in request.choices) or "none"
        raise UsageError(
            f"task '{task.name}' chooses among at least {CANDIDATES} answers, got {given}",
            hint="Name each: --choice dog --choice cat",
        )


def _check_windows(request: Request, task: Task) -> None:
    """Refuse windows that leave seconds out, and for a task that has none."""
    window_s, stride_s = request.window_s, request.stride_s
    if (window_s is not None or stride_s is not None) and not task.in_windows:
        flag = "--window" if window_s is not None else "--stride"
        raise UsageError(f"{flag} is for tasks that tell events, got task '{task.name}'", hint="Leave it out.")
    if window_s is not None and not 1 <= window_s < float("inf"):
        raise UsageError(f"a window of '{window_s:g}' s is too short", hint="Give 1 s or more.")
    if stride_s is not None and not 0.1 <= stride_s < float("inf"):
        raise UsageError(f"a stride of '{stride_s:g}' s is too short", hint="Give 0.1 s or more.")
    if window_s is not None and stride_s is not None and stride_s > window_s:
        raise UsageError(
            f"windows of '{window_s:g}' s every '{stride_s:g}' s leave seconds out",
            hint=f"Give --stride {window_s:g} or less.",
        )


def first_learnt(header: Header, names: Sequence[str]) -> str | None:
    """The first of the tasks that a model was trained on, None if it was on none; one that names none may know all."""
    return next((name for name in names if name in header.tasks or not header.tasks), None)


def untrained(header: Header, task: str) -> str:
    """The sentence that a model has not learnt a task."""
    return f"model '{header.name}' was not trained on task '{task}', only on {', '.join(header.tasks)}"


def probe_for(request: Request, task: Task) -> Probe:
    """What the file holds, if that is enough for the task.

    Raises InputError if the file cannot be used, AudioMissing if sound is needed and there is none.
    """
    from crab_core.media import probe

    found = probe(request.clip, request.audio_path)
    require(request, task, sound=found.has_audio, picture=found.has_video)
    return found


def require(request: Request, task: Task, *, sound: bool, picture: bool) -> None:
    """Refuse a clip that lacks what the task or the user cannot do without; for headers and decoded clips.

    Raises AudioMissing for lacking sound, InputError for lacking pictures.
    """
    if not sound and (task.listens or request.require_audio):
        why = f"task '{task.name}' listens" if task.listens else "--require-audio was given"
        raise AudioMissing(f"no sound in '{request.clip}', and {why}", hint=_cure(request))
    if not picture and task.looks:
        raise InputError(
            f"no picture in '{request.clip}', and task '{task.name}' looks",
            hint="Give a video or a picture; a sound file goes beside it: --audio FILE",
        )


def _example(clip: Path, task: str) -> str:
    if task == "ref-avs":
        return f"Say what is meant: crab segment {quote(str(clip))} --expr 'the dog on the left'"
    named = "" if task == "avqa" else f" --task {task}"
    return f"Give one: crab infer {quote(str(clip))} 'What is heard first?'{named}"


def _cure(request: Request) -> str:
    if request.audio_path is not None:
        return f"Give a file with sound instead of '{request.audio_path}'."
    asked = quote(request.question) if request.question else f"--task {request.task}"
    return f"Give the sound separately: crab infer {quote(str(request.clip))} {asked} --audio FILE"
