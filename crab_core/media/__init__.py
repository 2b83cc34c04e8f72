"""A file becomes a Clip: probing, frames by seeking, sound by streaming resample (numpy and PyAV, no torch).

Public names are loaded when first used, so that asking for a plan of frame times does not load FFmpeg.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crab_core.media.clip import load_clip
    from crab_core.media.plan import published_frame_times
    from crab_core.media.probing import Probe, probe
    from crab_core.media.writing import write_video

_HOMES = {
    "Probe": "crab_core.media.probing",
    "load_clip": "crab_core.media.clip",
    "probe": "crab_core.media.probing",
    "published_frame_times": "crab_core.media.plan",
    "write_video": "crab_core.media.writing",
}

__all__ = ["Probe", "load_clip", "probe", "published_frame_times", "write_video"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'crab_core.media' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
