"""Which of two sounds a video belongs to. The clip gives the pictures, two candidates the sound."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.matching import read_match
from crab_core.tasks.wording import in_order, of_profile, said_by_plus
from crab_core.types import Prompt

_TEXTS = said_by_plus("Please view the video and indicate which of the two audio clips matches what you see.")


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt, the video before both sounds as one; a question is not used. UsageError for an unknown profile."""
    return in_order("This is a video and two audio clips:", ("video", "audio"), of_profile(_TEXTS, profile))


TASK = Task(
    name="v2a",
    summary="which of two sounds belongs to a video",
    wording=wording,
    read=read_match,
    produces=("answer",),
    looks=True,
    must_be_learnt=True,
    chooses="audio",
)
