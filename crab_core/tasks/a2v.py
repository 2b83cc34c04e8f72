"""Which of two videos a sound belongs to. The clip gives the sound, two candidates the pictures."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.matching import read_match
from crab_core.tasks.wording import in_order, of_profile, said_by_plus
from crab_core.types import Prompt

_TEXTS = said_by_plus("Please listen to the audio and indicate which of the two videos matches what you hear.")


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt, the sound before both videos as one; a question is not used. UsageError for an unknown profile."""
    return in_order("These are two videos and an audio:", ("audio", "video"), of_profile(_TEXTS, profile))


TASK = Task(
    name="a2v",
    summary="which of two videos belongs to a sound",
    wording=wording,
    read=read_match,
    produces=("answer",),
    listens=True,
    must_be_learnt=True,
    chooses="video",
)
