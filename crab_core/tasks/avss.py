"""Audio-visual semantic segmentation: the pixels of sounding objects, with a class of 71 each."""

from __future__ import annotations

from crab_core.tasks.sounding import sounding_task

TASK = sounding_task(
    "avss",
    "the pixels of sounding objects by class",
    window_s=10,
    evaluated="Please recognize the category of the object making the sound in the image and segment it out.",
)
