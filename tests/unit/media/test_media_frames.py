"""Frames by seeking are those of sequential decoding, bit by bit, whatever the codec and the container."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from media_files import Movie, drawings

from crab_core.errors import UsageError
from crab_core.media import load_clip, probe, published_frame_times
from crab_core.media.frames import to_rgb
from crab_core.media.orientation import Orientation
from crab_core.types import View

BFRAMES = {"preset": "fast", "bf": "3", "sc_threshold": "0"}
X265 = {"preset": "ultrafast", "bf": "3", "x265-params": "log-level=none:pools=1:open-gop=1"}
VP9 = {"cpu-used": "8", "deadline": "realtime", "auto-alt-ref": "1"}
Y4M = {"format": "yuv4mpegpipe"}
APNG = {"format": "apng"}
LIVE = {"live": True, "format": "matroska"}
FRAGMENTS = {"options": {"movflags": "frag_keyframe+empty_moov"}}

CODECS = {
    "h264-mp4-one-long-gop-with-b-frames": ("long.mp4", Movie(drawings(150), gop=250, options=BFRAMES), {}),
    "h264-mp4-short-gops-with-b-frames": ("short.mp4", Movie(drawings(150), gop=10, options=BFRAMES), {}),
    "h264-mp4-open-gops": (
        "open.mp4",
        Movie(drawings(120), gop=12, options={"preset": "fast", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}),
        {},
    ),
    "h264-mkv": ("plain.mkv", Movie(drawings(150), gop=12, options=BFRAMES), {}),
    "h264-mkv-30-fps-in-whole-milliseconds": ("ms.mkv", Movie(drawings(120), fps=30, gop=12, options=BFRAMES), {}),
    "h264-mkv-live-without-index": ("live.mkv", Movie(drawings(250), gop=20, options=BFRAMES), LIVE),
    "h264-mpegts": ("plain.ts", Movie(drawings(300), gop=20, options=BFRAMES), {}),
    "h264-flv": ("plain.flv", Movie(drawings(200), gop=20, options=BFRAMES), {}),
    "h264-fragmented-mp4": ("frag.mp4", Movie(drawings(150), gop=10), FRAGMENTS),
    "h264-elementary-stream": ("raw.h264", Movie(drawings(60), gop=12, options=BFRAMES), {}),
    "h264-lossless-444": ("444.mp4", Movie(drawings(40), pixels="yuv444p"), {}),
    "h264-10-bit": ("ten.mp4", Movie(drawings(40), pixels="yuv420p10le"), {}),
    "hevc-mp4-open-gops": (
        "plain.hevc.mp4",
        Movie(drawings(60), "libx265", gop=12, options=X265),
        {},
    ),
    "vp9-webm": ("plain.webm", Movie(drawings(60), "libvpx-vp9", options=VP9), {}),
    "mpeg4-avi-with-b-frames": ("b.avi", Movie(drawings(120), "mpeg4", options={"bf": "2"}), {}),
    "mjpeg-avi": ("jpeg.avi", Movie(drawings(60), "mjpeg", pixels="yuvj420p", options={}), {}),
    "mpeg2-ts-with-b-frames": ("two.ts", Movie(drawings(200), "mpeg2video", options={"bf": "2"}), {}),
    "mpeg2-program-stream": ("two.mpg", Movie(drawings(100), "mpeg2video", options={"bf": "2"}), {}),
    "prores-mov-10-bit": ("pro.mov", Movie(drawings(20), "prores_ks", pixels="yuv422p10le", options={}), {}),
    "ffv1-mkv-gray": ("gray.mkv", Movie(drawings(30)[..., 0], "ffv1", pixels="gray", options={}, source="gray"), {}),
    "ffv1-mkv-alpha": ("alpha.mkv", Movie(drawings(30), "ffv1", pixels="bgra", options={}), {}),
    "uncompressed-y4m": ("plain.y4m", Movie(drawings(150), "wrapped_avframe", options={}), Y4M),
    "wmv2-asf": ("plain.wmv", Movie(drawings(120), "wmv2", options={}), {"format": "asf"}),
    "apng-animation": ("moving.apng", Movie(drawings(12), "apng", pixels="rgb24", options={}, gop=0), APNG),
    "gif-animation": ("moving.gif", Movie(drawings(20), "gif", fps=10, pixels="rgb8", options={}, gop=0), {}),
}  # fmt: skip


def sequential(path) -> tuple[list[float], list[np.ndarray]]:
    """All frames of a file by plain decoding, with their times from the first one on."""
    with av.open(f"file:{path}") as container:
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        step = 1 / Fraction(stream.average_rate or stream.guessed_rate)
        start = stream.start_time * stream.time_base if stream.start_time is not None else 0
        times = [
            float(f.pts * stream.time_base - start) if f.pts is not None else float(i * step)
            for i, f in enumerate(decoded)
        ]
    if path.suffix == ".h264":
        times = [float(i * step) for i in range(len(decoded))]
    return times, [to_rgb(frame, (frame.width, frame.height), Orientation()) for frame in decoded]


def on_screen(times: list[float], t: float) -> int:
    """The frame on screen at a time: the last that starts at or before it, the first if none does."""
    return max([i for i, start in enumerate(times) if start <= t + 0.0005], default=0)


@pytest.mark.parametrize("case", CODECS)
def test_frames_equal_sequential_decoding(make, case: str) -> None:
    name, movie, how = CODECS[case]
    path = make(name, movie, **how)
    times, frames = sequential(path)
    assert len(frames) == len(movie.frames)
    length_s = times[-1]
    asked = [
        0.0,
        length_s * 0.9,
        *published_frame_times(length_s, 7),
        length_s / 2 + 0.011,
        -1.0,
        length_s,
        length_s + 9,
    ]
    clip = load_clip(path, View(tuple(asked), ()))
    wrong = [
        t for t, got in zip(asked, clip.frames, strict=True) if not np.array_equal(got, frames[on_screen(times, t)])
    ]
    assert not wrong
    assert clip.size == (64, 48)
    assert clip.notes == ("there is no sound track",)


@pytest.mark.parametrize("case", CODECS)
def test_duration_is_that_of_all_frames(make, case: str) -> None:
    name, movie, how = CODECS[case]
    found = probe(make(name, movie, **how))
    slack_s = {"h264-flv": 0.1, "mpeg2-program-stream": 0.25}.get(case, 1.1 / movie.fps)  # their headers only guess
    assert found.duration_s == pytest.approx(len(movie.frames) / movie.fps, abs=slack_s)
    assert found.has_video
    assert not found.has_audio
    assert found.frames_per_s == pytest.approx(movie.fps, rel=0.02)


@pytest.mark.parametrize("size", [(224, 224), (64, 48), (17, 90)], ids=["square", "own-size", "odd-and-upright"])
def test_frame_size_scales_each_side_by_its_own_factor(plain, size: tuple[int, int]) -> None:
    clip = load_clip(plain, View((0.0, 2.0), ()), frame_size=size)
    assert clip.frames.shape == (2, size[1], size[0], 3)
    assert clip.size == (64, 48)
    with av.open(str(plain)) as container:
        first = next(container.decode(video=0))
    assert np.array_equal(clip.frames[0], to_rgb(first, size, Orientation()))


def test_no_times_give_no_frames(plain) -> None:
    clip = load_clip(plain, View((), ()))
    assert clip.frames.shape == (0, 48, 64, 3)
    assert not clip.has_frames


def test_variable_frame_rate_shows_the_frame_that_lasts(make) -> None:
    ticks = [0, 40, 80, 2080, 2120, 5000, 5040]
    path = make("vfr.mp4", Movie(drawings(7), ticks=ticks, gop=0))
    _, frames = sequential(path)
    asked = (0.05, 1.0, 2.07, 2.09, 4.9, 5.0, 5.03, 5.05)
    clip = load_clip(path, View(asked, ()))
    assert [int(np.argmax([np.array_equal(got, f) for f in frames])) for got in clip.frames] == [1, 2, 2, 3, 4, 5, 5, 6]
    assert clip.notes == ("there is no sound track",)


@pytest.mark.parametrize("start_s", [0.4, 3.0, 100.0])
@pytest.mark.parametrize("kind", ["mp4", "ts", "mkv"])
def test_times_count_from_the_start_of_the_pictures(make, kind: str, start_s: float) -> None:
    path = make(f"late{start_s}.{kind}", Movie(drawings(50), start_s=start_s))
    _, frames = sequential(path)
    clip = load_clip(path, View((0.0, 0.5, 1.92), ()))
    assert [int(np.argmax([np.array_equal(got, f) for f in frames])) for got in clip.frames] == [0, 12, 48]
    assert clip.duration_s == pytest.approx(2.0, abs=0.05)


TURNS = {
    "as-stored": (None, False, lambda a: a, 0),
    "quarter-left": (90, False, lambda a: np.rot90(a), 270),
    "half": (180, False, lambda a: np.rot90(a, 2), 180),
    "quarter-right": (-90, False, lambda a: np.rot90(a, -1), 90),
    "mirrored": (0, True, lambda a: a[:, ::-1], 0),
}


@pytest.mark.parametrize("turn", TURNS)
def test_rotation_is_applied(make, turn: str) -> None:
    degrees, mirrored, turned, rotation = TURNS[turn]
    path = make(f"turn-{turn}.mp4", Movie(drawings(10), rotation=degrees, mirrored=mirrored))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24", interpolation="BICUBIC")
    clip = load_clip(path, View((0.0,), ()))
    assert np.array_equal(clip.frames[0], turned(stored))
    height, width = turned(stored).shape[:2]
    assert clip.size == (width, height)
    found = probe(path)
    assert (found.size, found.rotation) == ((width, height), rotation)
    assert load_clip(path, View((0.0,), ()), frame_size=(30, 20)).frames.shape == (1, 20, 30, 3)


PIXELS = {
    "yuv444p": ("libx264", "mp4"),
    "yuv420p10le": ("libx264", "mp4"),
    "yuv422p10le": ("libx264", "mp4"),
    "gray": ("ffv1", "mkv"),
    "gray16le": ("ffv1", "mkv"),
    "bgra": ("ffv1", "mkv"),
    "yuva420p": ("ffv1", "mkv"),
    "gbrp10le": ("ffv1", "mkv"),
    "yuv410p": ("ffv1", "mkv"),
}


@pytest.mark.parametrize("pixels", PIXELS)
def test_colours_survive_every_pixel_format(make, pixels: str) -> None:
    codec, suffix = PIXELS[pixels]
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :, :32] = (200, 40, 40)
    frames[:, :, 32:] = (40, 40, 200)
    options = {"preset": "ultrafast", "crf": "4"} if codec == "libx264" else {}
    path = make(f"pixels-{pixels}.{suffix}", Movie(frames, codec, pixels=pixels, options=options))
    left, right = (load_clip(path, View((0.0,), ())).frames[0, 24, x].astype(int) for x in (10, 54))
    expected = [(200, 40, 40), (40, 40, 200)] if not pixels.startswith("gray") else [(88,) * 3, (58,) * 3]
    assert np.abs(np.array([left, right]) - expected).max() <= 4


def test_frame_times_of_the_published_rule() -> None:
    assert published_frame_times(10.0, 5) == (0.0, 2.0, 4.0, 6.0, 8.0)
    assert published_frame_times(0.0, 2) == (0.0, 0.0)
    assert published_frame_times(3.0, 0) == ()


@pytest.mark.parametrize("frames", [10, 24, 97, 100, 250])
def test_the_published_rule_takes_the_frames_of_the_published_indices(make, frames: int) -> None:
    path = make(f"rule{frames}.mp4", Movie(drawings(frames), fps=24))
    _, decoded = sequential(path)
    clip = load_clip(path, View(published_frame_times(probe(path).duration_s, 10), ()))
    for i, got in enumerate(clip.frames):
        assert np.array_equal(got, decoded[i * frames // 10])


@pytest.mark.parametrize(("duration_s", "n"), [(-1.0, 3), (float("inf"), 3), (float("nan"), 3), (1.0, -1)])
def test_a_plan_that_cannot_be_made_is_told(duration_s: float, n: int) -> None:
    with pytest.raises(UsageError, match="'?(inf|nan|-1)"):
        published_frame_times(duration_s, n)
