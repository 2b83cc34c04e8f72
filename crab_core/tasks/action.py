"""The action that takes place in a clip. One wording for Kinetics-Sounds (ks) and UCF, as Crab+ has it."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_answer
from crab_core.tasks.wording import of_profile, of_video, said_by_plus
from crab_core.types import Prompt

_TEXTS = said_by_plus("Please identify the action taking place in the video.")


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_video(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="action",
    summary="the action that takes place",
    wording=wording,
    read=read_answer,
    produces=("answer",),
    looks=True,
    must_be_learnt=True,
)
