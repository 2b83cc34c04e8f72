"""Frames of a sound track become mono samples at 16 kHz, each in its place.

Channels are averaged, as the published code's loader does. FFmpeg's resampler is started where its filter has the same
phase as in a run over the whole track, so that a part of a track gives the same samples as the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from crab_core.media.decoding import StreamDecoder
from crab_core.types import SAMPLE_RATE_HZ

MARGIN = 128  # samples at 16 kHz on either side of a window that the resampler's filter may reach into
_PUSH_SAMPLES = 16_384
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}

Samples = npt.NDArray[np.float32]


class Clock:
    """Which input sample a frame begins with, counted at `rate` Hz from 0 s of the clip.

    Matroska's whole milliseconds are too coarse to tell; but frames of one size lie on a grid that starts behind the
    first one, which is shorter when its beginning is the encoder's filler.
    """

    def __init__(self, decoder: StreamDecoder, rate: int, start_s: float, first_samples: int) -> None:
        self.rate = rate
        self.start = round(start_s * rate)
        self._grid = self.start + first_samples if first_samples else None
        self._base_s = float(decoder.base)
        self._origin_s = decoder.origin_s
        self._slack = max(1, math.ceil(self._base_s * rate))  # how many samples a time stamp may be wrong by

    def place(self, frame: av.AudioFrame, due: int | None) -> int:
        """The frame's first sample: `due` if its time stamp agrees within rounding, else where the stamp says."""
        if frame.pts is None:
            return self.start if due is None else due
        stamped = round((frame.pts * self._base_s - self._origin_s) * self.rate)
        if due is None and self._grid is not None and stamped > self.start + self._slack:
            due = self._grid + round((stamped - self._grid) / frame.samples) * frame.samples
        return stamped if due is None or abs(stamped - due) > self._slack else due


def resample_into(heard: Samples, first: int, frames: Iterable[av.AudioFrame], clock: Clock) -> None:
    """Fill `heard`, the samples from `first` on at 16 kHz, from frames that begin before it."""
    rate, period = clock.rate, clock.rate // math.gcd(clock.rate, SAMPLE_RATE_HZ)  # filter phases repeat in `period`
    margin = math.ceil(MARGIN * max(1.0, rate / SAMPLE_RATE_HZ))
    begin = max((first * rate // SAMPLE_RATE_HZ - margin) // period, clock.start // period) * period
    end = -((first + len(heard)) * -rate // SAMPLE_RATE_HZ) + margin
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    at = begin * SAMPLE_RATE_HZ // rate - first  # exact, since begin is a multiple of the period
    for block in _batched(_laid(frames, clock, begin, end)):
        for made in resampler.resample(_as_frame(block, rate) if block is not None else None):
            samples = made.to_ndarray()[0]
            low, high = max(0, -at), max(0, min(len(samples), len(heard) - at))
            heard[at + low : at + high] = samples[low:high] if high > low else 0
            at += len(samples)


def _laid(frames: Iterable[av.AudioFrame], clock: Clock, begin: int, end: int) -> Iterator[Samples]:
    """Mono samples [begin, end) at the track's rate without gaps or overlaps, ending earlier if the track does."""
    due: int | None = None
    for frame in frames:
        mono = _mono(frame, clock.rate)
        place = clock.place(frame, due)
        due = place + len(mono)
        if place > begin:
            yield np.zeros(min(place, end) - begin, np.float32)
            begin = min(place, end)
        mono = mono[begin - place : end - place] if end > place else mono[:0]
        yield mono
        begin += len(mono)
        if begin >= end:
            return


def loudness(frame: av.AudioFrame) -> tuple[float, float]:
    """The highest level of any channel and that of their mean, full scale 1."""
    samples, middle, scale = _channels(frame)
    if not samples.size:
        return 0.0, 0.0
    centred = (samples.astype(np.float64) - middle) / scale
    return float(np.abs(centred).max()), float(np.abs(centred.mean(axis=0)).max())


def _channels(frame: av.AudioFrame) -> tuple[npt.NDArray[Any], int, float]:
    """The samples (channels, n) as they are stored, the value that is silence, and that of full scale."""
    samples = frame.to_ndarray()  # (channels, n), or (1, n * channels) if they are interleaved
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    middle = 128 if frame.format.name.startswith("u8") else 0
    return samples, middle, _FULL_SCALE.get(frame.format.name.rstrip("p"), 1.0)


def _mono(frame: av.AudioFrame, rate: int) -> Samples:
    """The mean of the channels, full scale 1, as (n,) float32 at `rate`."""
    samples, middle, scale = _channels(frame)
    mono = (samples.mean(axis=0, dtype=np.float32 if scale == 1.0 else np.float64) - middle) / scale
    if frame.sample_rate != rate:  # a rate that changes within a track is rare: straight lines will do
        count = round(len(mono) * rate / frame.sample_rate)
        mono = np.interp(np.arange(count) * (frame.sample_rate / rate), np.arange(len(mono)), mono)
    return mono.astype(np.float32)


def _batched(blocks: Iterable[Samples]) -> Iterator[Samples | None]:
    """Blocks joined to pieces worth a call, then None: the sign to flush."""
    waiting: list[Samples] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= _PUSH_SAMPLES:
            yield np.concatenate(waiting)
            waiting = []
    if sum(map(len, waiting)):
        yield np.concatenate(waiting)
    yield None


def _as_frame(samples: Samples, rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = rate
    return frame
