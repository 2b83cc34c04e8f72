"""How loud a clip is over its time, for drawing: the lowest and highest sample of equal stretches."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crab_core.media.opening import telling
from crab_core.media.probing import Probe
from crab_core.media.resampling import Samples
from crab_core.media.sound import read_sound
from crab_core.types import SAMPLE_RATE_HZ

_WINDOW_S = 120.0


def sound_envelope(found: Probe, audio_path: Path | None = None, stretches: int = 2000) -> Samples | None:
    """(stretches, 2) lowest and highest sample of equal stretches of the clip in [-1, 1]; None without sound.

    Memory holds two minutes of sound. Raises InputError if the file cannot be read.
    """
    duration_s = found.duration_s
    if not found.has_audio or duration_s <= 0:
        return None
    takes_own_time = audio_path is not None or found.is_still or not found.has_video
    origin_s = found.audio_start_s if takes_own_time else found.start_s
    path = audio_path or found.path
    envelope = np.zeros((stretches, 2), np.float32)
    start_s = 0.0
    while start_s < duration_s:
        end_s = min(start_s + _WINDOW_S, duration_s)
        with telling(path):
            waveform = read_sound(path, [(start_s, end_s)], origin_s).waveform
        _add(envelope, waveform, start_s, duration_s)
        start_s = end_s
    return envelope


def _add(envelope: Samples, waveform: Samples, start_s: float, duration_s: float) -> None:
    """Widen the stretches that the waveform from `start_s` on reaches."""
    if not len(waveform):
        return
    times_s = start_s + np.arange(len(waveform)) / SAMPLE_RATE_HZ
    places = np.minimum((times_s / duration_s * len(envelope)).astype(int), len(envelope) - 1)
    edges = np.flatnonzero(np.diff(places, prepend=-1))
    reached = places[edges]
    envelope[reached, 0] = np.minimum(envelope[reached, 0], np.minimum.reduceat(waveform, edges))
    envelope[reached, 1] = np.maximum(envelope[reached, 1], np.maximum.reduceat(waveform, edges))
