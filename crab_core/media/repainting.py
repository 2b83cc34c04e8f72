"""A clip with every frame painted over, as a video that plays everywhere, with the clip's own sound.

H.264 yuv420p in MP4 with its index in front. Frames keep their times, also at a changing rate. Sound that MP4 holds is
copied packet by packet; other sound is encoded as AAC. Memory holds a few frames, however long the clip.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from crab_core.errors import InputError, ResourceError
from crab_core.media.decoding import StreamDecoder
from crab_core.media.frames import to_rgb
from crab_core.media.opening import open_media, shown, telling
from crab_core.media.probing import Probe, audio_stream, video_stream
from crab_core.progress import Listener, Progress, ignore

Picture = npt.NDArray[np.uint8]
Paint = Callable[[Picture, float], Picture]

STILL_S, STILL_FPS = 3.0, 5  # how a still picture without sound is shown
_TICKS = 90_000  # of a second
_COPIED = frozenset({"aac", "mp3"})  # what every browser plays out of an MP4
_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
_EARLY_S = 0.1  # sound from so long before 0 s is kept: decoders need it to begin


def paint_video(
    found: Probe,
    path: Path,
    paint: Paint,
    frame_size: tuple[int, int] | None = None,
    audio_path: Path | None = None,
    on_progress: Listener = ignore,
    *,
    crf: int = 23,
    preset: str = "veryfast",
) -> tuple[str, ...]:
    """Write the clip to `path` with `paint(picture, time_s)` in place of each frame (H, W, 3); gives notes.

    Frames are handed over upright, at `frame_size` (W, H) or their own; what `paint` returns must always have the same
    even sides. A still picture is shown as long as its sound lasts, else for 3 s. The file comes whole or not at all.
    Raises InputError if the clip cannot be read or the file not be written, ResourceError if the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        with av.open(f"file:{part}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            writer = _Writer(container, found, frame_size or found.size, paint, {"crf": str(crf), "preset": preset})
            with ExitStack() as held:
                sounds = _sounds(held, container, found, audio_path)
                writer.write(sounds, on_progress)
        part.replace(path)
    except (av.error.FFmpegError, OSError) as err:
        if isinstance(err, InputError):
            raise
        if err.errno == errno.ENOSPC:
            raise ResourceError(f"the disk is full, at {shown(path)}", hint="Free some space and try again.") from err
        raise InputError(f"cannot write {shown(path)}: {err}", hint="Check that its directory exists.") from err
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return writer.notes


class _Writer:
    """The pictures of the new file, with its sound beside them."""

    def __init__(
        self,
        container: av.container.OutputContainer,
        found: Probe,
        size: tuple[int, int],
        paint: Paint,
        options: dict[str, str],
    ) -> None:
        self.container, self.found, self.size, self.paint = container, found, size, paint
        rate = Fraction(found.frames_per_s or STILL_FPS).limit_denominator(1001)
        self.stream = container.add_stream("libx264", rate=rate, options=options)
        self.stream.pix_fmt = "yuv420p"
        self.stream.codec_context.time_base = Fraction(1, _TICKS)
        self.notes: tuple[str, ...] = ()
        self._last = -1
        self._is_set = False

    def write(self, sounds: Iterator[tuple[float, av.packet.Packet]], on_progress: Listener) -> None:
        waiting = next(sounds, None)
        length = max(1, round(self.found.duration_s))
        for time_s, picture in self._pictures():
            self._encode(self.paint(picture, time_s), time_s)
            while waiting is not None and waiting[0] <= time_s:
                self.container.mux(waiting[1])
                waiting = next(sounds, None)
            on_progress(Progress("overlay", min(length, round(time_s)), length, "seconds"))
        if self._last < 0:
            raise InputError(
                f"no picture of {shown(self.found.path)} can be decoded", hint="Convert it, then try again."
            )
        self.container.mux(self.stream.encode(None))
        while waiting is not None:
            self.container.mux(waiting[1])
            waiting = next(sounds, None)

    def _encode(self, picture: Picture, time_s: float) -> None:
        if not self._is_set:
            self.stream.height, self.stream.width = picture.shape[:2]
            self._is_set = True
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        self._last = max(self._last + 1, round(time_s * _TICKS))
        frame.pts, frame.time_base = self._last, Fraction(1, _TICKS)
        self.container.mux(self.stream.encode(frame))

    def _pictures(self) -> Iterator[tuple[float, Picture]]:
        """Every frame with its time, upright."""
        with telling(self.found.path), open_media(self.found.path) as container:
            stream = video_stream(container)
            if stream is None:
                return
            decoder, converter = StreamDecoder(container, stream, self.found.start_s), VideoReformatter()
            for number, frame in enumerate(decoder.frames()):
                picture = to_rgb(frame, self.size, self.found.orientation, converter)
                if self.found.is_still:
                    lasts_s = self.found.duration_s or STILL_S
                    yield from ((i / STILL_FPS, picture) for i in range(max(1, round(lasts_s * STILL_FPS))))
                    return
                yield self._time(decoder, frame, number), picture

    def _time(self, decoder: StreamDecoder, frame: av.VideoFrame, number: int) -> float:
        if frame.pts is None or not decoder.is_timed:
            return number / (self.found.frames_per_s or 25.0)
        return max(0.0, float(frame.pts * decoder.base) - decoder.origin_s)


def _sounds(
    held: ExitStack, container: av.container.OutputContainer, found: Probe, audio_path: Path | None
) -> Iterator[tuple[float, av.packet.Packet]]:
    """The packets of the new file's sound with their times, its stream added now; none without sound."""
    if not found.has_audio:
        return iter(())
    path = audio_path or found.path
    source = held.enter_context(open_media(path))
    stream = audio_stream(source)
    if stream is None:
        return iter(())
    takes_own_time = audio_path is not None or found.is_still
    origin_s = found.audio_start_s if takes_own_time else found.start_s
    end_s = found.duration_s or found.audio_duration_s
    decoder = StreamDecoder(source, stream, origin_s)
    if stream.codec_context.name in _COPIED and stream.codec_context.extradata and decoder.is_seekable:
        return _copied(decoder, container.add_stream_from_template(stream), end_s)
    return _encoded(decoder, container, end_s)


def _copied(decoder: StreamDecoder, into: av.stream.Stream, end_s: float) -> Iterator[tuple[float, av.packet.Packet]]:
    shift = round(decoder.origin_s / decoder.base)
    for packet in decoder.packets():
        if packet.pts is None or packet.dts is None:
            continue
        time_s = float((packet.pts - shift) * decoder.base)
        if time_s < -_EARLY_S:
            continue
        if time_s >= end_s:
            return
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = into
        yield time_s, packet


def _encoded(
    decoder: StreamDecoder, container: av.container.OutputContainer, end_s: float
) -> Iterator[tuple[float, av.packet.Packet]]:
    context = decoder.stream.codec_context
    rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
    layout = "mono" if context.layout.nb_channels == 1 else "stereo"
    stream = container.add_stream("aac", rate=rate, layout=layout)
    return _packets(decoder, stream, rate, layout, end_s)


def _packets(
    decoder: StreamDecoder, stream: av.AudioStream, rate: int, layout: str, end_s: float
) -> Iterator[tuple[float, av.packet.Packet]]:
    last = -1
    for frame in _resampled(decoder, rate, layout):
        place = max(0, round(float(frame.pts * frame.time_base - decoder.origin_s) * rate))
        if place >= end_s * rate:
            break
        if place <= last:
            continue
        last = place
        frame.pts, frame.time_base = place, Fraction(1, rate)
        yield from ((place / rate, packet) for packet in stream.encode(frame))
    yield from ((end_s, packet) for packet in stream.encode(None))


def _resampled(decoder: StreamDecoder, rate: int, layout: str) -> Iterator[av.AudioFrame]:
    """Frames in the encoder's format; the times of their first samples come with them, counted where there are none."""
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    counted = 0
    for frame in decoder.frames():
        if frame.pts is None:
            frame.pts, frame.time_base = counted, Fraction(1, frame.sample_rate)
        counted = frame.pts + round(frame.samples / frame.sample_rate / frame.time_base)
        yield from resampler.resample(frame)
    yield from resampler.resample(None)
