"""Audio-visual video parsing: every event that is seen and every event that is heard, and when."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_avvp
from crab_core.tasks.wording import QUICK_START, TRAIN, of_profile, of_video
from crab_core.types import Prompt

_TEXTS = {
    TRAIN: "Please determine the events that occur based on the visual and audio information in the video, "
    "as well as the start and end times of these events.",
    QUICK_START: "Please determine the events that occur based on the visual and audio information, "
    "as well as the start and end time of these events.",
}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_video(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="avvp",
    summary="every event that is seen and every event that is heard, and when",
    wording=wording,
    read=read_avvp,
    produces=("answer", "events"),
)
