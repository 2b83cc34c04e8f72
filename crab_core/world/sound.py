"""A scene becomes sound: each actor's track in its seconds, through one room and one microphone, over a quiet noise.

A source sounds in its labelled seconds and is zero outside of them: the room's tail is cut where a span ends. Levels
are set after room and equaliser, so that loud, medium and soft are what the labels say. Letters: S samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crab_core.types import SAMPLE_RATE_HZ
from crab_core.world.classes import SOUNDING
from crab_core.world.spec import Acoustics, Actor, Scene
from crab_core.world.tracks import compose, level

if TYPE_CHECKING:
    from crab_core.world.bank import Bank

Wave = npt.NDArray[np.float32]

KINDS = {one.name: one.kind for one in SOUNDING}
LOUD_DBFS = -20.0  # root mean square of a source at 0 dB
NOISE_GAP_DB = 8.0  # the noise stays this far below the faintest labelled second
CEILING = 0.9  # a track's peaks are rounded off towards it
PEAK = 0.98
TAPS = 1024  # of the equaliser
NOISE_S = 40


def render_sound(scene: Scene, bank: Bank) -> Wave:
    """The clip's sound, (seconds * 16000,) float32 mono, peak below 1."""
    sources = stems(scene, bank)
    mix = noise(scene, sources)
    for _, stem in sources:
        mix += stem
    peak = float(np.abs(mix).max())
    return mix * np.float32(PEAK / peak) if peak > PEAK else mix


def stems(scene: Scene, bank: Bank) -> list[tuple[Actor, Wave]]:
    """Each heard actor with his part of the mix, (S,) for the whole clip, zero outside his span."""
    heard = [actor for actor in scene.actors if actor.heard is not None]
    response = _response(scene.acoustics, scene.seconds * SAMPLE_RATE_HZ) if heard else None
    gain_db = LOUD_DBFS + scene.acoustics.gain_db
    parts = []
    for actor in heard:
        assert actor.heard is not None and response is not None
        dry = compose(KINDS[actor.name], bank.sounds(scene.font, actor.name), actor.heard.seconds, actor.sound_seed)
        wet = level(_through(dry, response)) * np.float32(10 ** ((gain_db + actor.level_db) / 20))
        if np.abs(wet).max() > CEILING:
            wet = np.float32(CEILING) * np.tanh(wet / np.float32(CEILING))
        stem = np.zeros(scene.seconds * SAMPLE_RATE_HZ, np.float32)
        stem[actor.heard.start_s * SAMPLE_RATE_HZ : actor.heard.end_s * SAMPLE_RATE_HZ] = wet
        parts.append((actor, stem))
    return parts


def noise(scene: Scene, sources: Iterable[tuple[Actor, Wave]]) -> Wave:
    """The background noise (S,), `NOISE_GAP_DB` or more below the faintest labelled second of every source."""
    loudest_db = scene.acoustics.noise_db
    for actor, stem in sources:
        assert actor.heard is not None
        faintest_db = float(_levels_db(stem)[actor.heard.start_s : actor.heard.end_s].min())
        loudest_db = min(loudest_db, max(faintest_db - NOISE_GAP_DB, -80.0))
    length = scene.seconds * SAMPLE_RATE_HZ
    store = _noise_store(scene.acoustics.noise, max(scene.seconds, NOISE_S))
    start = scene.acoustics.seed % (len(store) - length + 1)
    return store[start : start + length] * np.float32(10 ** (loudest_db / 20))


def audit_audibility(scenes: Iterable[Scene], bank: Bank, *, margin_db: float = 6.0) -> float:
    """Wrong seconds over labelled seconds: a source not `margin_db` above the noise where it is labelled, or above
    the noise where it is not. 0.0 if nothing is labelled.
    """
    wrong = labelled = 0
    for scene in scenes:
        sources = stems(scene, bank)
        floor_db = _levels_db(noise(scene, sources))
        for actor, stem in sources:
            assert actor.heard is not None
            truth = np.array([actor.heard.holds(second) for second in range(scene.seconds)])
            above_db = _levels_db(stem) - np.maximum(floor_db, -60.0)
            wrong += int(np.sum(truth & (above_db < margin_db)) + np.sum(~truth & (above_db > 0)))
            labelled += int(truth.sum())
    return wrong / labelled if labelled else 0.0


def _levels_db(wave: Wave) -> npt.NDArray[np.float64]:
    """The level of each second, (seconds,), in decibels below full scale; silence is -120."""
    power = np.mean(wave.reshape(-1, SAMPLE_RATE_HZ) ** 2, axis=1, dtype=np.float64)
    return np.asarray(10 * np.log10(power + 1e-12))


def _through(dry: Wave, response: npt.NDArray[np.complex64]) -> Wave:
    """The track through a filter; what rings on after its end is cut."""
    padded = 2 * (len(response) - 1)
    spectrum = np.fft.rfft(dry, padded)
    spectrum *= response
    return np.fft.irfft(spectrum, padded)[: len(dry)].astype(np.float32, copy=False)


def _response(acoustics: Acoustics, length: int) -> npt.NDArray[np.complex64]:
    """Room and equaliser as one filter for tracks of up to `length` samples, in the frequency domain."""
    taps = _room(acoustics)
    padded = _quick(length + len(taps) + TAPS)
    equaliser = np.roll(np.fft.irfft(_equaliser(acoustics), TAPS), TAPS // 2) * np.hanning(TAPS)
    taps = np.convolve(taps, equaliser).astype(np.float32) if len(taps) > 1 else equaliser.astype(np.float32)
    taps = np.roll(np.pad(taps, (0, padded - len(taps))), -(TAPS // 2))  # without the equaliser's delay
    return np.fft.rfft(taps).astype(np.complex64, copy=False)


def _room(acoustics: Acoustics) -> Wave:
    """An impulse and, behind it, noise that falls by 60 dB in `reverb_s`, holding `reverb_mix` of its energy."""
    if acoustics.reverb_mix == 0:
        return np.ones(1, np.float32)
    length = round(acoustics.reverb_s * SAMPLE_RATE_HZ)
    decay = np.exp(np.linspace(0, -6.9, length, dtype=np.float32))
    tail = np.random.default_rng(acoustics.seed).standard_normal(length, dtype=np.float32) * decay
    tail *= np.float32(np.sqrt(acoustics.reverb_mix) / np.linalg.norm(tail))
    tail[0] = np.sqrt(1 - acoustics.reverb_mix)
    return tail


def _equaliser(acoustics: Acoustics) -> npt.NDArray[np.float64]:
    """Gains of `TAPS // 2 + 1` frequencies: a tilt around 1 kHz, reached three octaves off, and one broad peak."""
    hertz = np.maximum(np.arange(TAPS // 2 + 1) * SAMPLE_RATE_HZ / TAPS, 30.0)
    octaves = np.log2(hertz / 1000)
    bump = np.exp(-0.5 * ((octaves - np.log2(acoustics.peak_hz / 1000)) / 0.6) ** 2)
    gains_db = acoustics.tilt_db * np.clip(octaves / 3, -1, 1) + acoustics.peak_db * bump
    return np.asarray(10 ** (gains_db / 20))


def _quick(length: int) -> int:
    """The next length of the form 2^k, 3 * 2^k or 5 * 2^k, which transforms fast, and is even."""
    power = 1 << (length - 1).bit_length()
    return min(size for size in (power, power * 3 // 4, power * 5 // 8) if size >= length)


@lru_cache(maxsize=4)
def _noise_store(kind: str, seconds: int) -> Wave:
    """A stretch of noise with a root mean square of 1, from which clips cut their pieces."""
    white = np.random.default_rng(7).standard_normal(seconds * SAMPLE_RATE_HZ, dtype=np.float32)
    if kind == "white":
        return white
    spectrum = np.fft.rfft(white)
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE_HZ / len(white), 20.0)).astype(np.float32)
    pink = np.fft.irfft(spectrum, len(white)).astype(np.float32)
    return pink / np.float32(np.sqrt(np.mean(pink**2)))
