"""Audio-referred image grounding: which object of the picture makes the sound, and its box."""

from __future__ import annotations

from crab_core.tasks._base import Moment, Task
from crab_core.tasks.sights import read_boxes
from crab_core.tasks.wording import EVALUATION, MOMENT, PLUS, QUICK_START, TRAIN, of_image, of_profile
from crab_core.types import Prompt

_QUICK = "Please output the location coordinates of sounding object."
_TEXTS = {
    TRAIN: "Please recognize the category of object that makes the sound and then output its location coordinates.",
    EVALUATION: "Please recognize the category of object that makes the sound "
    "and then output the location coordinates.",
    QUICK_START: _QUICK,
    MOMENT: _QUICK,
    PLUS: "Please recognize the category of object that makes the sound and then output its bounding box.",
}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_image(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="arig",
    summary="the object of a picture that makes the sound, and its box",
    wording=wording,
    read=read_boxes,
    produces=("answer", "boxes"),
    listens=True,
    looks=True,
    max_new_tokens=64,
    moment=Moment(window_s=5, heard_s={TRAIN: 5, EVALUATION: 5, PLUS: 5}),
)
