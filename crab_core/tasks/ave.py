"""Audio-visual event localization: the event that is both seen and heard, and when."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_ave
from crab_core.tasks.wording import TRAIN, of_profile, of_video
from crab_core.types import Prompt

_TEXTS = {TRAIN: "Please describe the events and time range that occurred in the video."}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_video(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="ave",
    summary="the event that is both seen and heard, and when",
    wording=wording,
    read=read_ave,
    produces=("answer", "events"),
    listens=True,
    looks=True,
)
