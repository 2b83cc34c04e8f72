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
BLOCK = 32_768  # samples that are transformed at once,
STEP = BLOCK - 8_224  # of which so many are new: the rest holds the longest room and the equaliser
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
    response = _response(scene.acoustics)
    gain_db = LOUD_DBFS + scene.acoustics.gain_db
    parts = []
    for actor in heard:
        assert actor.heard is not None
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
    """The track through a filter, block by block (overlap and add); what rings on after its end is cut."""
    blocks = -(-(len(dry) + TAPS // 2) // STEP)
    padded = np.zeros((blocks, STEP), np.float32)
    padded.reshape(-1)[: len(dry)] = dry
    spectra = np.fft.rfft(padded, BLOCK, axis=1)  # (blocks, BLOCK // 2 + 1)
    spectra *= response
    rung = np.fft.irfft(spectra, BLOCK, axis=1).astype(np.float32, copy=False)  # (blocks, BLOCK)
    rung[1:, : BLOCK - STEP] += rung[:-1, STEP:]
    wet = np.ascontiguousarray(rung[:, :STEP]).reshape(-1)
    return wet[TAPS // 2 : TAPS // 2 + len(dry)]  # without the equaliser's delay


def _response(acoustics: Acoustics) -> npt.NDArray[np.complex64]:
    """Room and equaliser as one filter in the frequency domain, (BLOCK // 2 + 1,)."""
    equaliser = np.roll(np.fft.irfft(_equaliser(acoustics), TAPS), TAPS // 2) * np.hanning(TAPS)
    taps = np.convolve(_room(acoustics), equaliser).astype(np.float32)
    return np.fft.rfft(taps, BLOCK).astype(np.complex64, copy=False)


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
