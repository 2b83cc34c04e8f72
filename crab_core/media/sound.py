"""The sound of given windows as mono 16 kHz, without decoding the rest of the track.

Windows that lie apart are reached by jumps, to a little before their start, so that the decoder is right when they
begin: a window sounds the same whichever windows are asked for beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np

from crab_core.errors import InputError
from crab_core.media.decoding import StreamDecoder, broken_note, first_frame
from crab_core.media.opening import open_media, shown
from crab_core.media.probing import audio_stream
from crab_core.media.resampling import MARGIN, Clock, Samples, loudness, resample_into
from crab_core.types import SAMPLE_RATE_HZ

_PREROLL_S = 0.5  # what MP3's bit reservoir, AAC's overlap and Opus's history need before a decoder is right
_STEPS_BACK_S = (0.0, 1.0, 5.0, 20.0)  # where to look when a jump lands too late
_JOIN_S = 2.0  # windows nearer than this are decoded in one go
_FRAMES_TO_COMPARE = 2_000  # about 40 s of AAC
_AUDIBLE, _CANCELLED = 1e-3, 1e-3  # -60 dB of full scale, and of the channels
_COARSE_SAMPLES = 4  # time stamps are trusted to the sample if a tick is no longer than this


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


def channels_cancel(path: Path) -> bool:
    """True if the beginning of the track is loud in its channels and silent in their mean: one of them is inverted."""
    with open_media(path) as container:
        stream = audio_stream(container)
        if stream is None:
            return False
        for frame in islice(StreamDecoder(container, stream, 0.0).frames(), _FRAMES_TO_COMPARE):
            channels, mean = loudness(frame)
            if channels > _AUDIBLE:
                return mean < channels * _CANCELLED
    return False


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
        lead_s = _PREROLL_S + 1 / math.gcd(rate, SAMPLE_RATE_HZ) + MARGIN / SAMPLE_RATE_HZ
        frames = self._enter(first_s - lead_s)
        frame = next(frames, None)
        if frame is not None:
            self.has_samples = True
            clock = Clock(self._decoder, frame.sample_rate, self._start_s, self._first_samples)
            resample_into(heard, span[0], chain([frame], frames), clock)
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
