"""Writing small media files of every odd kind with PyAV, for the tests of this folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 44_100


def drawings(n: int, width: int = 64, height: int = 48, seed: int = 0) -> np.ndarray:
    """(n, height, width, 3) uint8: a bright bar that moves over a gradient with a little grain, each frame distinct."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    frames = np.empty((n, height, width, 3), np.uint8)
    for i in range(n):
        base = np.stack([(x * 3 + i) % 256, (y * 4 + 2 * i) % 256, (x + y + 5 * i) % 256], axis=-1)
        base[:, (i * 2) % width : (i * 2) % width + 6] = 255
        frames[i] = np.clip(base + rng.integers(-6, 7, base.shape), 0, 255)
    return frames


def tones(duration_s: float, rate_hz: int = RATE_HZ, channels: int = 1) -> np.ndarray:
    """(channels, S) float32: a sweep with a soft start, another one in each channel."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    sweeps = [0.3 * np.sin(2 * np.pi * (200 + 90 * c + 150 * t) * t) * np.minimum(1, t * 20) for c in range(channels)]
    return np.array(sweeps, np.float32).reshape(channels, -1)


@dataclass
class Sound:
    """A sound track to write: (channels, S) samples in a codec."""

    samples: np.ndarray
    codec: str = "aac"
    rate_hz: int = RATE_HZ
    format: str = "fltp"
    start_s: float = 0.0


@dataclass
class Movie:
    """A video to write; `ticks` are frame times in units of 1/1000 s for a variable frame rate."""

    frames: np.ndarray
    codec: str = "libx264"
    fps: float = 25
    pixels: str = "yuv420p"
    gop: int = 12
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast"})
    rotation: int | None = None
    mirrored: bool = False
    ticks: Sequence[int] | None = None
    start_s: float = 0.0
    source: str = "rgb24"


def write(target: Path | io.RawIOBase, movie: Movie | None = None, sound: Sound | None = None, **how: object) -> None:
    """Mux a movie, a sound or both; `how` goes to av.open."""
    with av.open(target if not isinstance(target, Path) else f"file:{target}", "w", **how) as container:
        picture = _add_pictures(container, movie) if movie else None
        track = _add_sound(container, sound) if sound else None
        for i in range(len(movie.frames) if movie else 0):
            container.mux(picture.encode(_frame(movie, i)))
        if picture:
            container.mux(picture.encode())
        if track:
            for block in _blocks(sound, track.codec_context.frame_size or 1024):
                container.mux(track.encode(block))
            container.mux(track.encode())


def _add_pictures(container, movie):
    height, width = movie.frames.shape[1:3]
    stream = container.add_stream(movie.codec, rate=Fraction(movie.fps).limit_denominator(1001), options=movie.options)
    stream.width, stream.height, stream.pix_fmt = width, height, movie.pixels
    if movie.gop:
        stream.gop_size = movie.gop
    if movie.ticks is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    if movie.rotation is not None or movie.mirrored:
        stream.set_display_rotation(movie.rotation or 0, hflip=movie.mirrored)
    return stream


def _frame(movie, i):
    frame = av.VideoFrame.from_ndarray(movie.frames[i], format=movie.source)
    step = 1 / Fraction(movie.fps).limit_denominator(1001)
    frame.time_base = Fraction(1, 1000) if movie.ticks is not None else step
    frame.pts = movie.ticks[i] if movie.ticks is not None else i + round(movie.start_s / step)
    return frame


def _add_sound(container, sound):
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound.samples)]
    stream = container.add_stream(sound.codec, rate=sound.rate_hz, layout=layout)
    stream.codec_context.format = sound.format
    if sound.codec == "aac":  # with it, the decoder invents noise, each time another one
        stream.codec_context.options = {"aac_pns": "0"}
    return stream


def _blocks(sound, size):
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound.samples)]
    for start in range(0, sound.samples.shape[1], size):
        block = sound.samples[:, start : start + size]
        if sound.format.startswith("s16"):
            block = np.round(block * 32767).astype(np.int16)
        if not sound.format.endswith("p"):
            block = block.T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sound.format, layout=layout)
        frame.sample_rate, frame.time_base = sound.rate_hz, Fraction(1, sound.rate_hz)
        frame.pts = start + round(sound.start_s * sound.rate_hz)
        yield frame


class OneWay(io.RawIOBase):
    """A file that can only be written forwards, as a live recording is: no index, no duration."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, data: bytes) -> int:
        return self._file.write(data)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self._file.close()


def repeat(source: Path, target: Path, times: int, period_s: float) -> Path:
    """A long file for little work: the packets of `source` over and over, each round `period_s` later."""
    with av.open(str(source)) as short, av.open(str(target), "w") as long:
        tracks = [long.add_stream_from_template(stream) for stream in short.streams]
        bases = [stream.time_base for stream in short.streams]
        data = [(p.stream.index, bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in short.demux() if p.size]
        first = [min(pts for at, _, pts, *_ in data if at == index) for index in range(len(bases))]
        data = [packet for packet in data if (packet[2] - first[packet[0]]) * bases[packet[0]] < period_s - 1e-6]
        for i in range(times):
            for index, content, pts, dts, duration, is_key in data:
                shift = int(i * period_s / bases[index])
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = tracks[index], bases[index], is_key
                packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
                long.mux(packet)
    return target
