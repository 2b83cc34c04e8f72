"""The emotion of the person in a short clip. One wording for MELD, MER24, CREMA-D, MAFW and DFEW, as Crab+ has it.

The sets differ in which words are answers; none is named to the model.
"""

from __future__ import annotations

from crab_core.tasks._base import Task
from crab_core.tasks.grammar import read_answer
from crab_core.tasks.wording import of_profile, of_video, said_by_plus
from crab_core.types import Prompt

_TEXTS = said_by_plus("Please judge the person's emotion at the moment.")


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_video(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="emotion",
    summary="the emotion of the person who is seen or heard",
    wording=wording,
    read=read_answer,
    produces=("answer",),
    must_be_learnt=True,
)
