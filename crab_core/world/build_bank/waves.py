"""Work on mono waves at 16 kHz: resample, fade, close loops, level, and tell where a wave is audible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crab_core.types import SAMPLE_RATE_HZ

Wave = npt.NDArray[np.float32]

WINDOW = SAMPLE_RATE_HZ // 4  # loudness is the root mean square of the loudest quarter of a second
LOUDNESS = 0.1  # full scale is 1
PEAK = 0.97
KNEE = 0.7
AUDIBLE = 0.1  # a quarter of a second is audible if it is at most 20 dB below the loudest one
RESAMPLE_PAD_S = 0.05


def samples(seconds: float) -> int:
    """The number of samples at 16 kHz."""
    return round(seconds * SAMPLE_RATE_HZ)


def resample(wave: Wave, rate_hz: int) -> Wave:
    """The wave at 16 kHz, (S * 16000 / rate_hz,), by cutting its spectrum; times are kept to within a sample."""
    pad = round(RESAMPLE_PAD_S * rate_hz)
    padded = np.pad(wave, pad)
    target = round(len(padded) * SAMPLE_RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(padded)[: target // 2 + 1]
    resampled = np.fft.irfft(spectrum, target) * (target / len(padded))
    first = samples(RESAMPLE_PAD_S)
    return resampled[first : first + round(len(wave) * SAMPLE_RATE_HZ / rate_hz)].astype(np.float32)


def fade(wave: Wave, *, in_s: float, out_s: float) -> Wave:
    """The wave with straight ramps at both ends."""
    faded = wave.copy()
    rise, fall = min(samples(in_s), len(wave)), min(samples(out_s), len(wave))
    faded[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    faded[len(wave) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return faded


def close_loop(wave: Wave, length: int) -> Wave:
    """The first `length` samples, with what follows them faded into the start: laid end to end it has no seam."""
    seam = min(len(wave) - length, length)
    closed = wave[:length].copy()
    ramp = np.linspace(0, 1, seam, dtype=np.float32)
    closed[:seam] = closed[:seam] * np.sqrt(ramp) + wave[length : length + seam] * np.sqrt(1 - ramp)
    return closed


def lay(pieces: Sequence[tuple[int, Wave]], length: int) -> Wave:
    """The sum of the pieces, each from its first sample on, cut at `length`."""
    laid = np.zeros(length, np.float32)
    for first, piece in pieces:
        end = min(length, first + len(piece))
        if first < end:
            laid[first:end] += piece[: end - first]
    return laid


def trim(wave: Wave, *, below: float = 0.02) -> Wave:
    """The wave without the quiet ends (below that part of its peak)."""
    loud = np.flatnonzero(np.abs(wave) > below * np.abs(wave).max())
    return wave[loud[0] : loud[-1] + 1]


def loudness(wave: Wave) -> float:
    """Root mean square of the loudest 0.25 s (of the whole wave if it is shorter)."""
    power = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    window = min(WINDOW, len(wave))
    return float(np.sqrt(np.max(power[window:] - power[:-window]) / window))


def level(wave: Wave) -> Wave:
    """The wave at the common loudness; peaks above the knee are rounded off, never above 0.97."""
    levelled = wave
    for _ in range(4):  # rounding off peaks costs loudness: give it back and round again
        levelled = _round_peaks(levelled * np.float32(LOUDNESS / max(loudness(levelled), 1e-9)))
    return levelled


def _round_peaks(wave: Wave) -> Wave:
    excess = np.maximum(np.abs(wave) - KNEE, 0)
    room = PEAK - KNEE
    return np.where(excess > 0, np.sign(wave) * (KNEE + room * np.tanh(excess / room)), wave).astype(np.float32)


def audible_quarters(wave: Wave) -> npt.NDArray[np.bool_]:
    """For each full 0.25 s whether it is at most 20 dB below the loudest one."""
    quarters = wave[: len(wave) // WINDOW * WINDOW].reshape(-1, WINDOW)
    power = np.sqrt((quarters.astype(np.float64) ** 2).mean(axis=1))
    return power >= AUDIBLE * power.max()


def is_audible_throughout(wave: Wave) -> bool:
    """True if, laid end to end, at least 60 % of its quarter seconds are audible and no whole second is silent."""
    audible = audible_quarters(wave)
    around = np.concatenate([audible, audible])
    seconds = np.lib.stride_tricks.sliding_window_view(around, 4)
    return bool(audible.mean() >= 0.6 and seconds.any(axis=1).all())
