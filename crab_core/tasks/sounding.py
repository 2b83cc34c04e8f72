"""What the tasks that segment what sounds share: wording, reader and target; they differ in their clips' length."""

from __future__ import annotations

from crab_core.tasks._base import Moment, Task
from crab_core.tasks.pictures import SECOND
from crab_core.tasks.sights import read_mask, write_mask
from crab_core.tasks.wording import EVALUATION, MOMENT, PLUS, QUICK_START, TRAIN, of_image, of_profile, of_video
from crab_core.types import Prompt

_QUICK = "Please segment out the object that makes the sound in the image."
_TEXTS = {
    TRAIN: "Please recognize the category of object making sound in the video, "
    f"and then segment out the object that makes the sound at the {SECOND} second of the video.",
    QUICK_START: _QUICK,
    MOMENT: _QUICK,
    PLUS: "Please identify the category of the object producing the sound in the video frame. Then, provide the "
    "bounding box and three pixel points of the object that is making the sound within the frame.",
}


def sounding_task(name: str, summary: str, window_s: int, evaluated: str | None = None) -> Task:
    """The task of clips of `window_s` seconds; `evaluated` is what its evaluation says of a picture, None if it is
    worded like training."""
    texts = _TEXTS if evaluated is None else {**_TEXTS, EVALUATION: evaluated}
    stills = [profile for profile in texts if profile != TRAIN]

    def wording(question: str | None, profile: str) -> Prompt:
        """The prompt; a question is not used. Raises UsageError for an unknown profile."""
        text = of_profile(texts, profile)
        return of_image(text, profile) if profile in stills else of_video(text)

    return Task(
        name=name,
        summary=summary,
        wording=wording,
        read=read_mask,
        produces=("answer", "masks"),
        listens=True,
        looks=True,
        max_new_tokens=100,
        moment=Moment(window_s=window_s, told=write_mask),
    )
