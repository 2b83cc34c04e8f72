"""Single sounds of the bank become a track of any length: notes are strung into tunes, hits into rhythms, loops tiled.

Every track is audible in each of its seconds: something begins at least every `LONGEST_GAP_S`, and what fades too far
below the track's own level is lifted. Letters: S samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.types import SAMPLE_RATE_HZ

Wave = npt.NDArray[np.float32]

LONGEST_GAP_S = 0.8
FADE_S = 0.03
SEAM_S = 0.05  # of the crossfade between two copies of a loop
BEND = 0.05  # a track is played up to this share faster or slower, with its pitch
FLOOR_DB = -9.0  # a second below the track's level by more is lifted,
MOST_LIFT_DB = 15.0  # by at most this


def compose(kind: str, sounds: Sequence[Wave], seconds: int, seed: int) -> Wave:
    """A track (S,) of that many seconds with a root mean square of 1, faded in and out; the seed decides all of it.

    kind: `note`, `hit` or `loop`, as `SoundClass.kind` has it.
    """
    rng = np.random.default_rng(seed)
    length = seconds * SAMPLE_RATE_HZ
    drawn = _COMPOSERS[kind](rng, sounds, round(length * rng.uniform(1 - BEND, 1 + BEND)))
    return level(cv2.resize(drawn[None], (length, 1), interpolation=cv2.INTER_LINEAR)[0])


def level(track: Wave) -> Wave:
    """The track with its faint seconds lifted, its ends faded and its root mean square set to 1; length is kept."""
    each = np.sqrt(np.mean(track.reshape(-1, SAMPLE_RATE_HZ) ** 2, axis=1)) + 1e-9  # (seconds,)
    least = np.sqrt(np.mean(each**2)) * 10 ** (FLOOR_DB / 20)
    lift = np.clip(least / each, 1, 10 ** (MOST_LIFT_DB / 20))
    if np.any(lift > 1):
        track = track * _ramps(lift.astype(np.float32))
    track = fade(track)
    return track / np.float32(np.sqrt(np.mean(track**2)) + 1e-9)


def fade(track: Wave) -> Wave:
    """The track from and to silence within `FADE_S`."""
    ramp = np.linspace(0, 1, round(FADE_S * SAMPLE_RATE_HZ), dtype=np.float32)
    faded = track.copy()
    faded[: len(ramp)] *= ramp
    faded[-len(ramp) :] *= ramp[::-1]
    return faded


def _ramps(gains: Wave) -> Wave:
    """A gain for each sample that holds during a second and slides to the next one around its end."""
    held = np.repeat(gains, SAMPLE_RATE_HZ)
    slide = round(2 * FADE_S * SAMPLE_RATE_HZ)
    for second in range(1, len(gains)):
        middle = second * SAMPLE_RATE_HZ
        held[middle - slide : middle + slide] = np.linspace(gains[second - 1], gains[second], 2 * slide)
    return held


def _tune(rng: np.random.Generator, sounds: Sequence[Wave], length: int) -> Wave:
    """Notes that wander up and down, long and short, some of them chords."""
    step_s = rng.uniform(0.18, 0.52)
    chords = rng.random() < 0.35
    track = np.zeros(length, np.float32)
    place, note = 0, int(rng.integers(len(sounds)))
    while place < length:
        gap_s = min(step_s * (0.5, 1, 1, 1, 1.5)[int(rng.integers(5))], LONGEST_GAP_S)
        keep = round(max(gap_s * rng.uniform(1, 1.6), 0.3) * SAMPLE_RATE_HZ)
        loud = rng.uniform(0.6, 1)
        _strike(track, sounds[note], place, keep, loud)
        if chords and rng.random() < 0.4:
            _strike(track, sounds[(note + 2) % len(sounds)], place, keep, 0.7 * loud)
        place += round(gap_s * SAMPLE_RATE_HZ)
        note = int(np.clip(note + rng.integers(-3, 4), 0, len(sounds) - 1))
    return track


def _rhythm(rng: np.random.Generator, sounds: Sequence[Wave], length: int) -> Wave:
    """A pattern of eight half beats, repeated, with two or three of the sounds."""
    half_s = rng.uniform(0.12, LONGEST_GAP_S / 3)
    pattern = rng.random(8) < 0.55
    pattern[::3] = True  # never more than two half beats without a hit
    kit = rng.permutation(len(sounds))[:3]
    voices = kit[rng.integers(len(kit), size=8)]
    track = np.zeros(length, np.float32)
    for number, place in enumerate(range(0, length, round(half_s * SAMPLE_RATE_HZ))):
        if pattern[number % 8]:
            loud = 1 if number % 4 == 0 else rng.uniform(0.5, 0.9)
            _strike(track, sounds[voices[number % 8]], place, SAMPLE_RATE_HZ, loud)
    return track


def _tiling(rng: np.random.Generator, sounds: Sequence[Wave], length: int) -> Wave:
    """One sound from anywhere within it, laid end to end with crossfades."""
    sound = sounds[int(rng.integers(len(sounds)))]
    seam = min(round(SEAM_S * SAMPLE_RATE_HZ), len(sound) // 2)
    ramp = np.linspace(0, 1, seam, dtype=np.float32)
    body = sound[: len(sound) - seam].copy()  # one period, its start mixed with the sound's own end
    body[:seam] = body[:seam] * ramp + sound[len(sound) - seam :] * ramp[::-1]
    start = int(rng.integers(len(body)))
    return np.resize(np.roll(body, -start), length)


def _strike(track: Wave, sound: Wave, place: int, keep: int, loud: float) -> None:
    """Add the first `keep` samples of a sound to the track at a place, faded out at their end, in place."""
    piece = sound[: min(keep, len(track) - place)] * np.float32(loud)
    tail = min(len(piece), round(FADE_S * SAMPLE_RATE_HZ))
    piece[len(piece) - tail :] *= np.linspace(1, 0, tail, dtype=np.float32)
    track[place : place + len(piece)] += piece


_COMPOSERS: Mapping[str, Callable[[np.random.Generator, Sequence[Wave], int], Wave]] = MappingProxyType(
    {"note": _tune, "hit": _rhythm, "loop": _tiling}
)
