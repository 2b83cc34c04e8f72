"""Audio-visual question answering: a free question, reasoning in the open, a short tagged answer."""

from __future__ import annotations

from crab_core.errors import UsageError
from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_answer
from crab_core.tasks.wording import DIRECT, PLUS_DIRECT, TRAIN, of_profile, of_video, plain
from crab_core.types import Prompt

_BRIEFLY = "Please answer this question briefly: "  # ours, for an answer without reasoning
_TEXTS = {TRAIN: "Please answer this question: ", DIRECT: _BRIEFLY, PLUS_DIRECT: _BRIEFLY}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt of a question; raises UsageError if there is none or if the profile is unknown."""
    asked = plain(question or "")
    if not asked:
        raise UsageError("task 'avqa' needs a question", hint='Give one: crab infer clip.mp4 "What is heard first?"')
    return of_video(of_profile(_TEXTS, profile) + asked, profile)


TASK = Task(
    name="avqa",
    summary="answer a question about what is seen and heard",
    wording=wording,
    read=read_answer,
    produces=("answer",),
    needs_question=True,
)
