"""Audio-visual question answering with options: a question and the answers to choose from.

Source of the wording: Crab+, whose data has the options as a list of texts and spells it as Python does. A chosen
option may be told by its words, its letter or its number.
"""

from __future__ import annotations

from collections.abc import Sequence

from crab_core.errors import UsageError
from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_answer
from crab_core.tasks.wording import of_profile, of_video, plain, said_by_plus
from crab_core.types import Prompt

_TEXTS = said_by_plus("Please answer the question based on the options: ")


def with_options(question: str, options: Sequence[str]) -> str:
    """The question with its options, as the wording takes it.

    >>> with_options("What is heard?", ["dog", "cat"])
    "What is heard?, options:['dog', 'cat']"
    """
    return f"{question.strip()}, options:{[option.strip() for option in options]}"


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt of what `with_options` gives; raises UsageError without a question, or for an unknown profile."""
    asked = plain(question or "")
    if not asked:
        raise UsageError(
            "task 'avqa-options' needs a question",
            hint='Give one: crab infer clip.mp4 "What is heard?" --task avqa-options --choice dog --choice cat',
        )
    return of_video(of_profile(_TEXTS, profile) + asked, profile)


TASK = Task(
    name="avqa-options",
    summary="answer a question by one of several given answers",
    wording=wording,
    read=read_answer,
    produces=("answer",),
    needs_question=True,
    must_be_learnt=True,
    chooses="text",
)
