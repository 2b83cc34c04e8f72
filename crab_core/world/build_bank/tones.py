"""What synthesised sounds and modelled instruments are made of: random numbers, tones, throats and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crab_core.types import SAMPLE_RATE_HZ
from crab_core.world.build_bank.waves import Wave, samples

Curve = npt.NDArray[np.float64]
Formants = Sequence[tuple[float | Curve, float]]  # (centre, width) in Hz; a centre may move


class Dial:
    """Random numbers from one font's share of every range.

    A range is cut into four; `lane` (from, to), inside 0..1, is the font's share of each quarter. Every font thus
    spans whole ranges, and two fonts with different lanes never share a value.
    """

    def __init__(self, seed: Sequence[int], lane: tuple[float, float]) -> None:
        self.rng = np.random.default_rng(list(seed))
        self.lane = lane

    def __call__(self, low: float, high: float) -> float:
        """A number between low and high, in this font's share of that range."""
        return low + (high - low) * (int(self.rng.integers(4)) + float(self.rng.uniform(*self.lane))) / 4

    def noise(self, count: int) -> Curve:
        """White noise, (count,), unit variance."""
        return self.rng.normal(0, 1, count)


def throat(f0_hz: Curve, formants: Formants, *, floor: float = 0.04) -> Curve:
    """A resonating tube: harmonics of f0 (S,), strong near the formants, of strength `floor` elsewhere."""
    phase = phase_of(f0_hz)
    sound = np.zeros(len(f0_hz))
    for k in range(1, int(7000 / f0_hz.min()) + 1):
        harmonic = k * f0_hz
        gain = floor + sum(np.exp(-(((harmonic - centre) / width) ** 2)) for centre, width in formants)
        sound += gain * np.sin(k * phase) / k**0.5 * (harmonic < 7500)
    return sound


def time_of(count: int) -> Curve:
    """Seconds of each sample, (count,)."""
    return np.arange(count) / SAMPLE_RATE_HZ


def phase_of(frequency_hz: Curve) -> Curve:
    """The phase (radians) of a tone with that course of frequency."""
    return 2 * np.pi * np.cumsum(frequency_hz) / SAMPLE_RATE_HZ


def wander(dial: Dial, count: int, rate_hz: float) -> Curve:
    """A smooth wander within about -1..1 that turns `rate_hz` times a second, (count,)."""
    knots = max(4, round(count / SAMPLE_RATE_HZ * rate_hz) + 2)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), dial.rng.uniform(-1, 1, knots))


def smooth(gate: Curve, ramp_s: float) -> Curve:
    """The gate with ramps instead of steps."""
    width = samples(ramp_s)
    return np.convolve(gate, np.ones(width) / width, mode="same")


def band(noise: Curve, low_hz: float, high_hz: float) -> Curve:
    """What lies between two frequencies, with soft edges."""
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(len(noise), 1 / SAMPLE_RATE_HZ)
    keep = 1 / (1 + (low_hz / np.maximum(frequency, 1)) ** 4) / (1 + (frequency / high_hz) ** 4)
    return np.fft.irfft(spectrum * keep, len(noise))


def unit(sound: Curve) -> Curve:
    """The sound at root mean square 1."""
    return sound / max(float(np.sqrt((sound**2).mean())), 1e-9)


def float32(sound: Curve | int) -> Wave:
    """The curve as a wave."""
    return np.asarray(sound, np.float32)
