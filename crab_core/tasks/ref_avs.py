"""Referring audio-visual segmentation: the pixels of what an expression means, which may be nothing."""

from __future__ import annotations

from crab_core.errors import UsageError
from crab_core.tasks._base import Moment, Task
from crab_core.tasks.pictures import SECOND
from crab_core.tasks.sights import read_referred, write_referred
from crab_core.tasks.wording import (
    EVALUATION,
    MOMENT,
    PLUS,
    QUICK_START,
    TRAIN,
    of_image,
    of_profile,
    of_video,
    of_video_and_image,
    plain,
)
from crab_core.types import Prompt

_EXPRESSION = "<expression>"  # where the expression stands; `plain` leaves no such token in one
_QUICK = f"Please segment out {_EXPRESSION} in the image."
_TEXTS = {
    TRAIN: f"Please segment out {_EXPRESSION} at the {SECOND} second in the video.",
    EVALUATION: "Please segment out the corresponding object in the image based on the referential expression: "
    f"{_EXPRESSION}",
    QUICK_START: _QUICK,
    MOMENT: _QUICK,
    PLUS: f"Please analyze the video frame and audio to find the object described as <des>{_EXPRESSION}</des>. "
    'Answer with "true" or "false" whether the object exists. If it exists, respond with a sentence identifying the '
    "object's name, its bounding box, and three pixel points; if not, state that the object is absent.",
}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt of an expression, such as `the object making the loudest sound`.

    Raises UsageError if there is none or if the profile is unknown.
    """
    said = plain(question or "").rstrip(".")
    if not said:
        raise UsageError(
            "task 'ref-avs' needs an expression", hint='Give one: crab segment clip.mp4 --expr "the loudest object"'
        )
    text = of_profile(_TEXTS, profile)
    text = text.replace(_EXPRESSION, said if profile == EVALUATION else said.lower())
    if profile in (QUICK_START, MOMENT, PLUS):
        return of_image(text, profile)
    return of_video_and_image(text) if profile == EVALUATION else of_video(text)


def told(label: str, ordinal: str) -> str:
    """The answer that draws the mask of a label when the network told none."""
    return write_referred("the object", label)


TASK = Task(
    name="ref-avs",
    summary="the pixels of what an expression means, or nothing",
    wording=wording,
    read=read_referred,
    produces=("answer", "masks"),
    needs_question=True,
    looks=True,
    max_new_tokens=128,
    moment=Moment(window_s=10, heard_s={QUICK_START: 10}, told=told),
)
