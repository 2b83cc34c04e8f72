"""Single-source sound segmentation: the pixels of the one object that makes the sound."""

from __future__ import annotations

from crab_core.tasks._base import Moment, Task
from crab_core.tasks.pictures import SECOND
from crab_core.tasks.sights import read_mask, write_mask
from crab_core.tasks.wording import MOMENT, QUICK_START, TRAIN, of_image, of_profile, of_video
from crab_core.types import Prompt

_QUICK = "Please segment out the object that makes the sound in the image."
_TEXTS = {
    TRAIN: "Please recognize the category of object making sound in the video, "
    f"and then segment out the object that makes the sound at the {SECOND} second of the video.",
    QUICK_START: _QUICK,
    MOMENT: _QUICK,
}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    text = of_profile(_TEXTS, profile)
    return of_image(text) if profile in (QUICK_START, MOMENT) else of_video(text)


TASK = Task(
    name="s4",
    summary="the pixels of the object that makes the sound",
    wording=wording,
    read=read_mask,
    produces=("answer", "masks"),
    listens=True,
    looks=True,
    max_new_tokens=100,
    moment=Moment(window_s=5, told=write_mask),
)
