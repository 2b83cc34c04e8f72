"""Single-source sound segmentation: the pixels of the one object that makes the sound."""

from __future__ import annotations

from crab_core.tasks.sounding import sounding_task

TASK = sounding_task("s4", "the pixels of the object that makes the sound", window_s=5)
