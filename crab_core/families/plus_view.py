"""Which frames and which sound a Crab+ network wants of a clip, as times; see `nn.plus_config.PlusMedia`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crab_core.nn.plus_config import PlusMedia
from crab_core.nn.plus_media import LONGEST_S, PER_STEP
from crab_core.types import View

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SLACK_S = 0.5  # a clip that is longer than the trained length by this much is still one of that length
FRAME_S = 1 / 30  # a frame's time on screen, which a view is not told


def view_of(media: PlusMedia, task: str, duration_s: float) -> View:
    """The view of a task on a clip of that length.

    `published`: frames from the first to the last at equal distances, to within a frame of the published choice, and
    all of the sound up to 30 s; a longer clip is heard for a second at each look. A tenth of the clip is one nominal
    second. `native`: one look a true second, at most as many as there are frames; a longer clip is sampled.
    """
    if media.profile == "native":
        return _native(media, task, duration_s)
    is_short = task in media.emotion_tasks
    looks = media.emotion_frames if is_short else media.frames
    second_s = duration_s / media.frames
    if duration_s == 0 or abs(duration_s - media.frames) <= SLACK_S:
        second_s = 1.0
    if is_short or duration_s == 0:
        sounds = [(float(look), look + 1.0) for look in range(looks)]
    elif task in media.wide_tasks and duration_s >= media.frames - SLACK_S:
        sounds = _around(media, looks, second_s)
    elif duration_s <= LONGEST_S + SLACK_S:
        sounds = [(look * duration_s / looks, (look + 1) * duration_s / looks) for look in range(looks)]
    else:
        sounds = [(look * second_s, look * second_s + 1.0) for look in range(looks)]
    return View(_first_to_last(duration_s, looks), tuple(sounds), second_s)


def step_s(media: PlusMedia, times_s: npt.NDArray[np.float64]) -> float:
    """The seconds from one pair of frames to the next, as the network is told: nominal ones, or true ones."""
    if media.profile == "published":
        return media.grid_s
    return PER_STEP * (float(times_s[-1]) - float(times_s[0])) / (len(times_s) - 1) if len(times_s) > 1 else PER_STEP


def _native(media: PlusMedia, task: str, duration_s: float) -> View:
    is_sampled = duration_s > media.frames + SLACK_S
    looks = media.frames if is_sampled else max(1, min(media.frames, math.floor(duration_s + 0.5)))
    second_s = duration_s / looks if is_sampled else 1.0
    times = tuple(look * duration_s / looks for look in range(looks))
    plain = [(look * second_s, look * second_s + 1.0) for look in range(looks)]
    return View(times, tuple(_around(media, looks, second_s) if task in media.wide_tasks else plain), second_s)


def _around(media: PlusMedia, looks: int, second_s: float) -> list[tuple[float, float]]:
    start, end = media.wide_window_s
    return [(look * second_s + start, look * second_s + end) for look in range(looks)]


def _first_to_last(duration_s: float, looks: int) -> tuple[float, ...]:
    """The middles of the first frame, of the last one and of those at equal distances between."""
    frame_s = min(FRAME_S, duration_s)
    step_s = (duration_s - frame_s) / max(1, looks - 1)
    return tuple(look * step_s + frame_s / 2 for look in range(looks))
