"""Sound as a filter bank: log energies of 128 mel bands, 100 spectrogram frames a second, as Kaldi computes them.

    (S, samples) waveforms in [-1, 1] at 16 kHz -> (S, L, 128), L = 1 + (samples - 400) // 160

Source: the preprocessing of BEATs (arXiv 2212.09058) and Crab: windows of 25 ms every 10 ms, mean removed,
pre-emphasis 0.97, Povey window, power spectrum of 512 points, triangular mel bands from 20 Hz to 8 kHz, no dither,
then the normalisation constants of BEATs. Parity: tests/parity/test_parity_fbank.py.
Letters: S sound segments, L spectrogram frames.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch.nn import functional as F

SAMPLE_RATE_HZ = 16_000
BINS = 128
WINDOW = 400  # 25 ms
HOP = 160  # 10 ms
FFT_POINTS = 512
PRE_EMPHASIS = 0.97
POVEY_POWER = 0.85
MEL, MEL_HZ = 1127.0, 700.0  # mel(f) = 1127 ln(1 + f / 700)
LOW_HZ, HIGH_HZ = 20.0, SAMPLE_RATE_HZ / 2
FULL_SCALE = 2.0**15  # Kaldi reads 16-bit samples
MEAN, STD = 15.41663, 6.55582  # of BEATs' training sounds
LOG_FLOOR = torch.finfo(torch.float32).eps


def filter_bank(waveforms: torch.Tensor) -> torch.Tensor:
    """The normalised filter banks of (S, samples) waveforms: (S, L, 128) in the same dtype, float32 or float64.

    16000 samples give 98 frames. Raises ValueError for fewer than 400 samples.
    """
    if waveforms.ndim != 2 or waveforms.shape[1] < WINDOW:
        raise ValueError(f"a filter bank needs (S, at least {WINDOW}) samples, got {tuple(waveforms.shape)}")
    window, mel = _constants(waveforms.dtype, waveforms.device)
    frames = (waveforms * FULL_SCALE).unfold(1, WINDOW, HOP)  # (S, L, 400)
    exact = frames.double()  # nearly equal numbers are subtracted: in float32 the quiet low bands lose 1e-5
    frames = (exact - exact.mean(-1, keepdim=True)).to(waveforms.dtype)
    before = torch.cat([frames[..., :1], frames[..., :-1]], -1)
    spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * window, n=FFT_POINTS)  # (S, L, 257)
    energies = (spectrum.abs() ** 2) @ mel  # (S, L, 128)
    return (energies.clamp_min(LOG_FLOOR).log() - MEAN) / (2 * STD)


def frames_of(samples: int) -> int:
    """How many spectrogram frames that many samples give."""
    return 1 + (samples - WINDOW) // HOP


@cache
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """The Povey window (400,) and the mel bands (257, 128)."""
    window = torch.hann_window(WINDOW, periodic=False, dtype=dtype) ** POVEY_POWER
    return window.to(device), _mel_bands().to(dtype).to(device)


def _mel_bands() -> torch.Tensor:
    """Weight of each spectrum point in each triangular band, (257, 128) float32; the Nyquist point counts nowhere.

    In float32 whatever the sound's type, kept for parity with the features that the published encoders learnt from.
    """
    low, high = (MEL * math.log(1 + hertz / MEL_HZ) for hertz in (LOW_HZ, HIGH_HZ))
    step = (high - low) / (BINS + 1)
    numbers = torch.arange(BINS)
    left, centre, right = (low + (numbers + shift) * step for shift in range(3))  # (128,)
    hertz = torch.arange(FFT_POINTS // 2) * (SAMPLE_RATE_HZ / FFT_POINTS)
    points = MEL * (1 + hertz / MEL_HZ).log()[:, None]
    bands = torch.minimum((points - left) / (centre - left), (right - points) / (right - centre)).clamp_min(0)
    return F.pad(bands, (0, 0, 0, 1))
