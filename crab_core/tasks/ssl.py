"""Sounding-object localisation: every object of the picture that makes a sound, each with its class and box."""

from __future__ import annotations

from crab_core.tasks._base import Moment, Task
from crab_core.tasks.sights import read_boxes
from crab_core.tasks.wording import TRAIN, of_image, of_profile
from crab_core.types import Prompt

# ours: the Crab release has no task for several sounding objects
_TEXTS = {TRAIN: "Please find every object that makes a sound in the image and output their location coordinates."}


def wording(question: str | None, profile: str) -> Prompt:
    """The prompt; a question is not used. Raises UsageError for an unknown profile."""
    return of_image(of_profile(_TEXTS, profile), profile)


TASK = Task(
    name="ssl",
    summary="every object of a picture that makes a sound, with its class and box",
    wording=wording,
    read=read_boxes,
    produces=("answer", "boxes"),
    listens=True,
    looks=True,
    max_new_tokens=192,
    moment=Moment(),
)
