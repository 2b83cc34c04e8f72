"""The frames on screen at given times, bit-identical to decoding the whole file, in the time of a few key intervals.

Between two wanted frames the decoder either reads on or jumps to a keyframe, whichever is nearer. Frames are converted
to RGB at the wanted size one by one, so that memory holds what is asked for and one decoder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from crab_core.errors import InputError
from crab_core.media.decoding import StreamDecoder, broken_note
from crab_core.media.opening import open_media, shown
from crab_core.media.orientation import Orientation
from crab_core.media.probing import Probe, video_stream

_READ_ON_S = 5.0  # without an index, a jump of less than this is not worth a seek
_STEPS_BACK_S = (0.0, 1.0, 5.0, 20.0, 60.0)  # where to look when the nearest keyframe turns out to be too late
_TOLERANCE_S = 0.0005  # Matroska and FLV round times to whole milliseconds, half of them upwards
_ENDS_EARLY_S = 0.5


@dataclass(frozen=True, slots=True)
class Pictures:
    """Frames (N, H, W, 3) uint8 RGB in the order asked for, and what to tell of them; N = 0 if none decodes."""

    frames: npt.NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def read_frames(found: Probe, times_s: Sequence[float], frame_size: tuple[int, int] | None = None) -> Pictures:
    """The frame on screen at each time: the last one that starts at or before it, else the first one.

    Times are seconds of the clip in any order. `frame_size` (W, H) scales with a bicubic filter, each side by its own
    factor; None keeps the size as shown. A still is the same frame at all times.
    Raises InputError if the file cannot be read, ResourceError if memory runs out.
    """
    width, height = frame_size or found.size
    order = np.argsort(times_s, kind="stable")
    ordered = [0.0 if found.is_still else times_s[i] for i in order]
    frames = np.empty((len(times_s), height, width, 3), np.uint8)
    shower = _walk(found, ordered, frames, order, is_seeking=True) if len(times_s) else None
    if shower is None:
        return Pictures(frames[:0])
    return Pictures(frames if shower.has_frames else frames[:0], _notes(found, shower))


def to_rgb(
    frame: av.VideoFrame, size: tuple[int, int], orientation: Orientation, converter: VideoReformatter | None = None
) -> npt.NDArray[np.uint8]:
    """The decoded frame upright as (H, W, 3) uint8 RGB at (W, H) = `size`: any pixel format, alpha dropped.

    One `converter` for many frames of a kind saves setting up the filter for each.
    """
    width, height = orientation.size(size)
    converter = converter or VideoReformatter()
    picture = converter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC").to_ndarray()
    return orientation.upright(np.asarray(picture, np.uint8))


class _Untimed(Exception):  # noqa: N818 - never leaves this file
    """A frame after a seek does not say when it is."""


def _walk(
    found: Probe, times_s: Sequence[float], frames: npt.NDArray[np.uint8], order: npt.NDArray[np.intp], is_seeking: bool
) -> _Shower:
    """Fill `frames[order[i]]` with the picture at `times_s[i]`, ascending; from the start if seeking leads astray."""
    with open_media(found.path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"no pictures in {shown(found.path)}", hint="Has the file changed meanwhile?")
        shower = _Shower(StreamDecoder(container, stream, found.start_s), found, is_seeking)
        try:
            _fill(shower, times_s, frames, order, found.orientation)
            return shower
        except _Untimed:
            pass
        finally:
            shower.close()
    return _walk(found, times_s, frames, order, is_seeking=False)


def _fill(
    shower: _Shower,
    times_s: Sequence[float],
    frames: npt.NDArray[np.uint8],
    order: npt.NDArray[np.intp],
    orientation: Orientation,
) -> None:
    size, converter = (frames.shape[2], frames.shape[1]), VideoReformatter()
    last: tuple[av.VideoFrame, int] | None = None
    for time_s, place in zip(times_s, order, strict=True):
        frame = shower.at(time_s)
        if frame is None:
            return
        if last is not None and last[0] is frame:
            frames[place] = frames[last[1]]
        else:
            frames[place] = to_rgb(frame, size, orientation, converter)
        last = (frame, int(place))


class _Shower:
    """Walks forward through a stream and knows the frame on screen at a time."""

    def __init__(self, decoder: StreamDecoder, found: Probe, is_seeking: bool) -> None:
        self.decoder = decoder
        self.has_frames = False
        self.ended_s: float | None = None  # where the pictures turned out to end, if the end was reached
        self._step = Fraction(1) / Fraction(found.frames_per_s or 25).limit_denominator(100_000) / decoder.base
        self._slack = min(0.5, _TOLERANCE_S / float(decoder.base))
        self._start = decoder.tick(0.0)
        self._is_seeking = is_seeking and decoder.is_seekable
        self._is_counting = not decoder.is_timed
        self._shown: tuple[int, av.VideoFrame] | None = None
        self._next: tuple[int, av.VideoFrame] | None = None
        self._timed: Iterator[tuple[int, av.VideoFrame]] = iter(())
        self._is_open = False
        self._index_is_whole = "mp4" in decoder.container.format.name

    def close(self) -> None:
        """Let go of the decoder at once: a paused generator and its owner would keep its threads until collected."""
        self._timed, self._shown, self._next = iter(()), None, None

    def at(self, time_s: float) -> av.VideoFrame | None:
        """The frame on screen at a time, which is never before the one asked for last; None if nothing decodes."""
        tick = math.floor((self.decoder.origin_s + time_s) / self.decoder.base + self._slack)
        if not self._is_open:
            self._open(tick)
        elif self._is_worth_a_seek(tick):
            self._seek(tick)
        while self._next is not None and self._next[0] <= tick:
            self._shown, self._next = self._next, next(self._timed, None)
        if self._next is None and self._shown is not None:
            lasts = max(self._step, self._shown[1].duration or 0)
            self.ended_s = float((self._shown[0] + lasts) * self.decoder.base) - self.decoder.origin_s
        chosen = self._shown or self._next
        self.has_frames |= chosen is not None
        return chosen[1] if chosen else None

    def _open(self, tick: int) -> None:
        if self._is_worth_a_seek(tick):
            self._seek(tick)
        else:
            self._read_on(after_keyframe=False)
        self._is_open = True

    def _read_on(self, *, after_keyframe: bool) -> None:
        self._shown = None
        self._timed = self._with_ticks(after_keyframe)
        self._next = next(self._timed, None)

    def _is_worth_a_seek(self, tick: int) -> bool:
        """True if a keyframe lies between the frame that comes next and the tick, as far as the index knows."""
        if not self._is_seeking:
            return False
        here = self._next[0] if self._next else self._start
        if self._is_open and self._next is None:
            return False  # the end has been reached
        entries = self.decoder.stream.index_entries
        place = entries.search_timestamp(tick, backward=True, any_frame=False) if len(entries) else -1
        if place >= 0 and entries[place].timestamp > here:
            return True
        return not self._index_is_whole and (tick - here) * self.decoder.base > _READ_ON_S

    def _seek(self, tick: int) -> None:
        """Stand before the tick on a frame that needs nothing earlier, stepping back while a jump lands behind it."""
        for back_s in _STEPS_BACK_S:
            aim = max(self._start, tick - round(back_s / self.decoder.base))
            if not self.decoder.seek(aim):
                break
            self._read_on(after_keyframe=True)
            if self._next is not None and self._next[0] <= tick:
                return
        raise _Untimed  # no keyframe could be found: read from the start instead

    def _with_ticks(self, after_keyframe: bool) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames with their ticks; a frame without a time follows the one before by one frame interval."""
        due = Fraction(self._start)
        for frame in self.decoder.frames(after_keyframe=after_keyframe):
            tick = frame.pts if frame.pts is not None else frame.dts
            if tick is None and after_keyframe:
                raise _Untimed
            if self._is_counting or tick is None:
                tick = int(due)
            due = tick + self._step if not self._is_counting else due + self._step
            yield tick, frame


def _notes(found: Probe, shower: _Shower) -> tuple[str, ...]:
    notes = broken_note(shower.decoder.broken_s, "pictures")
    if not shower.has_frames:
        return (*notes, "no picture could be decoded")
    is_short = shower.ended_s is not None and shower.ended_s < found.duration_s - _ENDS_EARLY_S
    if is_short and not found.is_still:
        return (*notes, f"the pictures end at {shower.ended_s:.1f} s, though the file says {found.duration_s:.1f} s")
    return notes
