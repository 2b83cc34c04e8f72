"""Audio-visual captioning: a few sentences about what is seen and heard."""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_caption
from crab_core.tasks.wording import EVALUATION, TRAIN, of_profile, of_video
from crab_core.types import Prompt

_TEXTS = {TRAIN: "Please describe this video and audio.", EVALUATION: "Please describe this video."}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_video(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="avcap",
    summary="describe what is seen and heard",
    wording=wording,
    read=read_caption,
    produces=("answer",),
)
