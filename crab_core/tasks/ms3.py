"""Multi-source sound segmentation: the pixels of all objects that make a sound.

The published evaluation always asks about the third second; here it is the picture's own.
"""

from __future__ import annotations

from crab_core.tasks.sounding import sounding_task

TASK = sounding_task("ms3", "the pixels of all objects that make a sound", window_s=5)
