"""The sound of given windows as mono 16 kHz, without decoding the rest of the track.

Samples are placed by their time stamps, channels are averaged (as the published code's loader does), and FFmpeg's
resampler is started where its filter has the same phase as in a run over the whole track, so that a window sounds the
same whichever windows are asked for beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from crab_core.errors import InputError
from crab_core.media.decoding import StreamDecoder, broken_note, first_frame
from crab_core.media.opening import open_media, shown
from crab_core.media.probing import audio_stream
from crab_core.types import SAMPLE_RATE_HZ

_PREROLL_S = 0.5  # what MP3's bit reservoir, AAC's overlap and Opus's history need before a decoder is right
_STEPS_BACK_S = (0.0, 1.0, 5.0, 20.0)  # where to look when a jump lands too late
_MARGIN = 128  # samples at 16 kHz on either side of a window that the resampler's filter may reach into
_JOIN_S = 2.0  # windows nearer than this are decoded in one go
_PUSH_SAMPLES = 16_384
_COARSE_SAMPLES = 4  # time stamps are trusted to the sample if a tick is no longer than this
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sound:
    """The windows laid end to end (S,) float32 mono 16 kHz, whether the track has any sample, and what to tell."""

    waveform: Samples
    has_samples: bool
    notes: tuple[str, ...] = ()


def read_sound(path: Path, windows_s: Sequence[tuple[float, float]], origin_s: float) -> Sound:
    """The sound of the windows, each `round((end - start) * 16000)` samples, zeros where the track has none.

    Windows are in seconds of the clip, in any order, may overlap and may begin before 0 or end after the track;
    `origin_s` is the file's own time of 0 s. Memory is bounded by the windows (and gaps of up to 2 s between them).
    Raises InputError if the file cannot be read, ResourceError if memory runs out.
    """
    places = [_samples_of(window) for window in windows_s]
    spans = _spans(places)
    try:
        reader = _read_spans(path, spans, origin_s, is_seeking=True)
    except _Inexact:
        reader = _read_spans(path, spans, origin_s, is_seeking=False)
    pieces = [reader.piece(place) for place in places]
    waveform = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return Sound(waveform, reader.has_samples or _has_any_sample(path), broken_note(reader.broken_s, "sound"))


def _samples_of(window_s: tuple[float, float]) -> tuple[int, int]:
    first = round(window_s[0] * SAMPLE_RATE_HZ)
    return first, first + round((window_s[1] - window_s[0]) * SAMPLE_RATE_HZ)


def _spans(places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Windows [first, end) that lie near each other joined into spans, ascending."""
    spans: list[tuple[int, int]] = []
    for first, end in sorted(places):
        if spans and first - spans[-1][1] <= _JOIN_S * SAMPLE_RATE_HZ:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((first, end))
    return spans


def _has_any_sample(path: Path) -> bool:
    with open_media(path) as container:
        stream = audio_stream(container)
        return stream is not None and first_frame(StreamDecoder(container, stream, 0.0)) is not None


class _Inexact(Exception):  # noqa: N818 - never leaves this file
    """A jump landed where the sound says no time, or always too late."""


def _read_spans(path: Path, spans: Sequence[tuple[int, int]], origin_s: float, is_seeking: bool) -> _SpanReader:
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise InputError(f"no sound track in {shown(path)}", hint="Has the file changed meanwhile?")
        reader = _SpanReader(StreamDecoder(container, stream, origin_s), _first_samples(path, stream), is_seeking)
        for span in spans:
            reader.read(span)
    return reader


def _first_samples(path: Path, stream: av.AudioStream) -> int:
    """How many samples the first frame has where time stamps are too coarse to place samples by; else 0."""
    if stream.time_base * (stream.codec_context.sample_rate or SAMPLE_RATE_HZ) <= _COARSE_SAMPLES:
        return 0
    with open_media(path) as container:
        frame = first_frame(StreamDecoder(container, container.streams[stream.index], 0.0))
        return frame.samples if frame is not None else 0


class _SpanReader:
    """Decodes spans of a track in ascending order and keeps them."""

    def __init__(self, decoder: StreamDecoder, first_samples: int, is_seeking: bool) -> None:
        self.has_samples = False
        self.broken_s: set[float] = set()
        self._decoder = decoder
        self._first_samples = first_samples
        self._is_seeking = is_seeking and decoder.is_seekable
        self._start_s = float((decoder.stream.start_time or 0) * decoder.base) - decoder.origin_s
        self._heard: dict[tuple[int, int], Samples] = {}
        self._here_s = self._start_s  # where the container stands

    def piece(self, place: tuple[int, int]) -> Samples:
        """The samples [first, end) of a span that has been read."""
        span = next(span for span in self._heard if span[0] <= place[0] and place[1] <= span[1])
        return self._heard[span][place[0] - span[0] : place[1] - span[0]]

    def read(self, span: tuple[int, int]) -> None:
        """Decode the samples [first, end) at 16 kHz; zeros where the track has none."""
        self._heard[span] = heard = np.zeros(span[1] - span[0], np.float32)
        rate = self._decoder.stream.codec_context.sample_rate or SAMPLE_RATE_HZ
        first_s, end_s = span[0] / SAMPLE_RATE_HZ, span[1] / SAMPLE_RATE_HZ
        lead_s = _PREROLL_S + 1 / math.gcd(rate, SAMPLE_RATE_HZ) + _MARGIN / SAMPLE_RATE_HZ
        frames = self._enter(first_s - lead_s)
        frame = next(frames, None)
        if frame is not None:
            self.has_samples = True
            clock = _Clock(self._decoder, frame.sample_rate, self._start_s, self._first_samples)
            _resample_into(heard, span[0], chain([frame], frames), clock)
        self._here_s = end_s
        self.broken_s |= {time_s for time_s in self._decoder.broken_s if first_s - 0.1 <= time_s <= end_s + 0.1}

    def _enter(self, time_s: float) -> Iterator[av.AudioFrame]:
        """Frames from at or before a time: by a jump, or where jumps are not exact by reading over what lies before."""
        decoder = self._decoder
        if not self._is_seeking or time_s <= self._here_s:
            return decoder.frames(skip_before=decoder.tick(time_s))
        for back_s in _STEPS_BACK_S:
            if not decoder.seek(decoder.tick(max(self._start_s, time_s - back_s))):
                break
            frames = decoder.frames()
            frame = next(frames, None)
            if frame is None and back_s == 0.0:
                return iter(())  # beyond the end
            if frame is None or frame.pts is None:
                break
            if frame.pts <= decoder.tick(time_s):
                return chain([frame], frames)
        raise _Inexact


class _Clock:
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


def _resample_into(heard: Samples, first: int, frames: Iterable[av.AudioFrame], clock: _Clock) -> None:
    """Fill `heard`, the samples from `first` on at 16 kHz, from frames that begin before it."""
    rate, period = clock.rate, clock.rate // math.gcd(clock.rate, SAMPLE_RATE_HZ)  # filter phases repeat in `period`
    margin = math.ceil(_MARGIN * max(1.0, rate / SAMPLE_RATE_HZ))
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


def _laid(frames: Iterable[av.AudioFrame], clock: _Clock, begin: int, end: int) -> Iterator[Samples]:
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


def _mono(frame: av.AudioFrame, rate: int) -> Samples:
    """The mean of the channels, full scale 1, as (n,) float32 at `rate`."""
    channels = frame.layout.nb_channels
    samples = frame.to_ndarray()  # (channels, n), or (1, n * channels) if they are interleaved
    if not frame.format.is_planar:
        samples = samples.reshape(-1, channels).T
    scale = _FULL_SCALE.get(frame.format.name.rstrip("p"), 1.0)
    middle = 128 if frame.format.name.startswith("u8") else 0
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
