"""Odd clips give a clip and notes; broken ones give an InputError of two lines that names the file."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import Movie, Sound, drawings, tones

from crab_core.errors import InputError, ResourceError
from crab_core.media import load_clip, probe, published_frame_times
from crab_core.media.decoding import broken_note
from crab_core.types import View

VIEW = View((0.0, 0.5, 1.0), ((0.0, 1.0), (1.0, 2.0)))
PCM = {"codec": "pcm_s16le", "rate_hz": 16_000, "format": "s16"}


def wav(make, name: str = "two.wav", seconds: float = 2.0, loudness: float = 1.0) -> Path:
    return make(name, None, Sound(loudness * tones(seconds, 16_000), **PCM))


def png(
    make, size: tuple[int, int] = (40, 30), name: str = "still.png", codec: str = "png", pixels: str = "rgb24"
) -> Path:
    return make(name, Movie(drawings(1, *size), codec, pixels=pixels, options={}, gop=0), **({"format": "image2"}))


# --- sound beside pictures ---------------------------------------------------------------------------------------


def test_video_with_sound_is_used(plain: Path) -> None:
    clip = load_clip(plain, VIEW)
    assert (clip.audio, clip.notes, clip.duration_s) == ("used", (), 4.0)
    assert clip.frames.shape == (3, 48, 64, 3)
    assert clip.frame_times_s.tolist() == [0.0, 0.5, 1.0]
    assert clip.waveform.shape == (32_000,)


def test_video_without_sound_is_absent_and_said(make) -> None:
    clip = load_clip(make("mute.mp4", Movie(drawings(50))), VIEW)
    assert (clip.audio, clip.waveform.shape, clip.sound_windows_s) == ("absent", (0,), ())
    assert clip.notes == ("there is no sound track",)
    assert not clip.has_sound


def test_quiet_track_is_silent(make) -> None:
    path = make("quiet.mkv", Movie(drawings(50)), Sound(tones(2, 16_000) * 1e-5, "pcm_f32le", 16_000, "flt"))
    clip = load_clip(path, VIEW)
    assert clip.audio == "silent"
    assert "the sound track is silent" in clip.notes


def test_silence_where_it_was_listened_to_is_no_silent_track(make) -> None:
    """A sound between the looks at a long clip is not heard; nobody may say that it is not there."""
    track = np.zeros((1, 16_000 * 20), np.float32)
    track[:, 16_000 * 5 : 16_000 * 6] = tones(1, 16_000)
    clip = load_clip(
        make("sparse.mkv", Movie(drawings(500)), Sound(track, **PCM)), View((0.0,), ((0.0, 1.0), (9.0, 10.0)))
    )
    assert clip.audio == "silent"
    assert clip.notes == ("the sound is silent in the 2 s of 20 s that were listened to",)


@pytest.mark.parametrize(("codec", "format"), [("pcm_s16le", "s16"), ("pcm_f32le", "flt"), ("flac", "s16")])
def test_channels_that_cancel_each_other_are_told(make, codec: str, format: str) -> None:
    left = tones(2, 16_000) * 0.5
    path = make(
        f"twisted-{codec}.mkv", Movie(drawings(50)), Sound(np.concatenate([left, -left]), codec, 16_000, format)
    )
    clip = load_clip(path, VIEW)
    assert clip.audio == "silent"
    assert clip.notes[-1] == "the channels of the sound cancel each other: give one of them with --audio FILE"


def test_track_just_above_silence_is_used(make) -> None:
    path = make("faint.mkv", Movie(drawings(50)), Sound(tones(2, 16_000) * 1e-3, "pcm_f32le", 16_000, "flt"))
    assert load_clip(path, VIEW).audio == "used"


@pytest.mark.parametrize(("seconds", "note"), [(1.0, True), (3.0, True), (1.9, False), (2.3, False)])
def test_lengths_that_differ_are_said(make, seconds: float, note: bool) -> None:
    clip = load_clip(make(f"differ{seconds}.mp4", Movie(drawings(50)), Sound(tones(seconds))), VIEW)
    assert clip.duration_s == pytest.approx(2.0)
    assert any(n == f"the sound lasts {seconds:.1f} s, the pictures 2.0 s" for n in clip.notes) is note
    assert clip.waveform.shape == (32_000,)
    if seconds == 1.0:
        assert not clip.waveform[17_000:].any()


def test_separate_sound_replaces_the_track(make, plain: Path) -> None:
    sound = wav(make)
    clip = load_clip(plain, VIEW, audio_path=sound)
    assert (clip.audio, clip.audio_path, clip.duration_s) == ("replaced", sound, 4.0)
    assert np.array_equal(clip.waveform, load_clip(sound, View((), VIEW.sound_windows_s)).waveform)
    assert clip.notes == ("the sound lasts 2.0 s, the pictures 4.0 s",)


def test_sound_of_another_video_can_be_taken(make, plain: Path) -> None:
    clip = load_clip(make("mute.mp4", Movie(drawings(50))), VIEW, audio_path=plain)
    assert clip.audio == "replaced"
    assert np.abs(clip.waveform).max() > 0.1


def test_sound_that_starts_later_is_placed_by_its_time(make) -> None:
    sound = Sound(np.full((1, 16_000), 0.5, np.float32), "pcm_s16le", 16_000, "s16", start_s=1.0)
    clip = load_clip(make("later.mkv", Movie(drawings(50)), sound), View((), ((0.0, 2.0),)))
    assert not clip.waveform[:15_900].any()
    assert np.allclose(clip.waveform[16_100:], 0.5, atol=1e-3)
    assert "the sound starts 1.0 s after the pictures" in clip.notes


def test_pictures_that_start_later_set_the_clock(make) -> None:
    samples = np.concatenate([np.zeros(16_000), np.full(32_000, 0.5)])[None].astype(np.float32)
    path = make("waits.mkv", Movie(drawings(50), start_s=1.0), Sound(samples, **PCM))
    clip = load_clip(path, View((0.0,), ((-0.5, 0.5),)))
    assert not clip.waveform[:7_900].any()
    assert np.allclose(clip.waveform[8_100:], 0.5, atol=1e-3)
    assert "the sound starts 1.0 s before the pictures" in clip.notes


# --- stills, songs, tiny and huge --------------------------------------------------------------------------------


def test_sound_file_alone_has_no_frames(make) -> None:
    clip = load_clip(wav(make), VIEW)
    assert (clip.frames.shape[0], clip.frame_times_s.shape, clip.duration_s, clip.audio) == (0, (0,), 2.0, "used")
    assert not clip.has_frames


def test_cover_picture_of_a_song_is_no_video(make, tmp_path: Path) -> None:
    song = tmp_path / "song.mp3"
    with av.open(str(png(make))) as picture, av.open(str(song), "w") as out:
        track = out.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = out.add_stream_from_template(picture.streams.video[0])
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in picture.demux(video=0):
            if packet.size:
                packet.stream = cover
                out.mux(packet)
        frame = av.AudioFrame.from_ndarray(tones(2), format="fltp", layout="mono")
        frame.sample_rate = 44_100
        out.mux(track.encode(frame))
        out.mux(track.encode())
    found = probe(song)
    assert (found.has_video, found.has_audio) == (False, True)
    assert load_clip(song, VIEW).frames.shape[0] == 0


STILLS = {
    "png": ("s.png", "png", "rgb24"),
    "png-alpha": ("sa.png", "png", "rgba"),
    "png-gray": ("sg.png", "png", "gray"),
    "jpg": ("s.jpg", "mjpeg", "yuvj420p"),
    "webp": ("s.webp", "libwebp", "bgra"),
    "bmp": ("s.bmp", "bmp", "bgr24"),
    "tiff": ("s.tiff", "tiff", "rgb24"),
    "gif": ("s.gif", "gif", "rgb8"),
}


@pytest.mark.parametrize("kind", STILLS)
def test_still_with_sound_lasts_as_long_as_the_sound(make, kind: str) -> None:
    name, codec, pixels = STILLS[kind]
    how = {} if kind in {"gif", "webp"} else {"format": "image2"}
    path = make(name, Movie(drawings(1, 40, 30), codec, pixels=pixels, options={}, gop=0), **how)
    found = probe(path)
    assert (found.is_still, found.duration_s, found.size, found.frames_per_s) == (True, 0.0, (40, 30), None)
    clip = load_clip(path, VIEW, audio_path=wav(make))
    assert (clip.duration_s, clip.audio, clip.notes) == (2.0, "replaced", ())
    assert clip.frames.shape == (3, 30, 40, 3)
    assert (clip.frames == clip.frames[0]).all()
    assert clip.frames[0].std() > 10


def test_still_alone_is_a_clip_of_no_length(make) -> None:
    clip = load_clip(png(make), View((0.0, 0.0), ()))
    assert (clip.duration_s, clip.audio, len(clip.frames)) == (0.0, "absent", 2)


def test_a_name_with_a_pattern_is_one_file(make, tmp_path: Path) -> None:
    for name in ("shot%03d.png", "shot001.png", "shot[0].png", "shot*.png"):
        (tmp_path / name).write_bytes(png(make).read_bytes())
        assert probe(tmp_path / name).is_still


EXIF_TURNS = {
    1: (0, lambda a: a),
    3: (180, lambda a: np.rot90(a, 2)),
    6: (90, lambda a: np.rot90(a, -1)),
    8: (270, np.rot90),
}


@pytest.mark.parametrize("tag", EXIF_TURNS)
def test_photo_is_turned_as_its_exif_says(make, tmp_path: Path, tag: int) -> None:
    stored = make("photo.jpg", Movie(drawings(1, 40, 30), "mjpeg", pixels="yuvj420p", options={}), format="image2")
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, tag, 0, 0)
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    path = tmp_path / "turned.jpg"
    path.write_bytes(stored.read_bytes()[:2] + exif + stored.read_bytes()[2:])
    degrees, turned = EXIF_TURNS[tag]
    assert probe(path).rotation == degrees
    plainly = load_clip(stored, View((0.0,), ())).frames[0]
    assert np.array_equal(load_clip(path, View((0.0,), ())).frames[0], turned(plainly))


@pytest.mark.parametrize(("size", "codec", "pixels"), [((1, 1), "ffv1", "bgra"), ((2, 2), "libx264", "yuv420p")])
def test_tiny_frames(make, size: tuple[int, int], codec: str, pixels: str) -> None:
    path = make(f"tiny{size[0]}.mkv", Movie(drawings(5, *size), codec, pixels=pixels, options={}))
    clip = load_clip(path, View((0.0, 0.1), ()), frame_size=(224, 224))
    assert (clip.size, clip.frames.shape) == (size, (2, 224, 224, 3))


def test_8k_frame_is_made_small_on_the_way(make) -> None:
    path = make("huge.mkv", Movie(np.zeros((1, 4320, 7680, 3), np.uint8) + 90, "mjpeg", pixels="yuvj420p", options={}))
    clip = load_clip(path, View((0.0,) * 10, ()), frame_size=(224, 224))
    assert (clip.size, clip.frames.shape) == ((7680, 4320), (10, 224, 224, 3))
    assert np.abs(clip.frames.astype(int) - 90).max() <= 3


def test_one_frame_video(make) -> None:
    path = make("one.mp4", Movie(drawings(1)))
    clip = load_clip(path, View(published_frame_times(probe(path).duration_s, 10), ((0.0, 1.0),)))
    assert clip.duration_s == pytest.approx(0.04)
    assert len(clip.frames) == 10
    assert (clip.frames == clip.frames[0]).all()
    assert not probe(path).is_still


@pytest.mark.parametrize("name", ["Grüße 東京 🦀.mp4", "two\nlines.mp4", "a:b%d'\" $x*.mp4", "http:", "-i.mp4"])
def test_any_name_is_a_name(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(plain.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert len(load_clip(Path(name), VIEW).frames) == 3


# --- damage ------------------------------------------------------------------------------------------------------


def damaged(source: Path, target: Path, first: int, last: int) -> Path:
    """A copy whose video packets `first` to `last` hold other bytes."""
    data = bytearray(source.read_bytes())
    rng = np.random.default_rng(0)
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size][first : last + 1]
    for pos, size in packets:
        data[pos : pos + size] = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
    target.write_bytes(data)
    return target


def test_broken_packets_in_the_middle_are_skipped_and_said(plain: Path, tmp_path: Path) -> None:
    path = damaged(plain, tmp_path / "holes.mp4", 50, 53)
    clip = load_clip(path, View(tuple(i * 0.1 for i in range(40)), ((0.0, 4.0),)))
    assert len(clip.frames) == 40
    note = next(n for n in clip.notes if "could not be decoded" in n)
    assert note.startswith("4 packets of the pictures could not be decoded near 2.")
    whole = load_clip(plain, View((0.0, 1.0, 3.5), ((0.0, 4.0),)))
    assert np.array_equal(clip.frames[[0, 10, 35]], whole.frames)
    assert np.array_equal(clip.waveform, whole.waveform)


@pytest.mark.parametrize(
    ("times_s", "note"),
    [
        ({3.21}, "1 packet of the sound could not be decoded near 3.2 s"),
        ({3.2, 3.9}, "2 packets of the sound could not be decoded near 3.2 s"),
        ({0.0, 4.0, 9.46}, "3 packets of the sound could not be decoded from 0.0 to 9.5 s"),
    ],
    ids=["one", "near", "all-over"],
)
def test_broken_packets_are_told_with_their_place(times_s: set[float], note: str) -> None:
    assert broken_note(times_s, "sound") == (note,)


def test_broken_sound_is_zero_where_it_is_broken(make, tmp_path: Path) -> None:
    source = make("steady.m4a", None, Sound(tones(4)))
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size][80:86]
    for pos, size in packets:
        data[pos : pos + size] = b"\xff" * size
    path = tmp_path / "hole.m4a"
    path.write_bytes(data)
    clip, whole = (load_clip(p, View((), ((0.0, 4.0),))) for p in (path, source))
    assert any("of the sound could not be decoded near 1." in note for note in clip.notes)
    assert np.array_equal(clip.waveform[:28_000], whole.waveform[:28_000])
    assert np.array_equal(clip.waveform[34_000:], whole.waveform[34_000:])


@pytest.mark.parametrize("loudness", [0.0, 1.0], ids=["silence", "tones"])
def test_broken_pictures_beside_broken_silence_are_no_clip(make, tmp_path: Path, loudness: float) -> None:
    source = make(f"both-{loudness}.mp4", Movie(drawings(40)), Sound(tones(4) * loudness))
    data = bytearray(source.read_bytes())
    for kind, first in (("video", 0), ("audio", 40)):
        with av.open(str(source)) as container:
            packets = [(p.pos, p.size) for p in container.demux(**{kind: 0}) if p.size][first:]
        for pos, size in packets:
            data[pos : pos + size] = b"\xff" * size
    path = tmp_path / "ruined.mp4"
    path.write_bytes(data)
    view = View((0.0, 1.0), ((0.0, 4.0),))
    if loudness:  # what can be heard is used
        assert load_clip(path, view).audio == "used"
        return
    with pytest.raises(InputError, match=r"nothing in '.*ruined.mp4' can be decoded"):
        load_clip(path, view)


def test_cut_off_file_with_its_index_in_front_gives_what_is_there(make, tmp_path: Path) -> None:
    source = make("front.mp4", Movie(drawings(100)), Sound(tones(4)), options={"movflags": "+faststart"})
    path = tmp_path / "cut.mp4"
    path.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    clip = load_clip(path, View(published_frame_times(probe(path).duration_s, 4), ((0.0, 1.0),)))
    whole = load_clip(source, View(tuple(clip.frame_times_s), ((0.0, 1.0),)))
    assert 1.0 < clip.duration_s < 3.0
    assert any(note.startswith("the file is cut off: of 4.0 s of pictures the first") for note in clip.notes)
    assert np.array_equal(clip.frames, whole.frames)


def test_cut_off_matroska_says_where_the_pictures_end(make, tmp_path: Path) -> None:
    source = make("whole.mkv", Movie(drawings(100)))
    path = tmp_path / "cut.mkv"
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    clip = load_clip(path, View((0.0, 3.9), ()))
    assert len(clip.frames) == 2
    assert any(note.startswith("the pictures end at ") and "says 4.0 s" in note for note in clip.notes)


def test_missing_length_is_counted(make) -> None:
    path = make("endless.mkv", Movie(drawings(100)), Sound(tones(4)), live=True, format="matroska")
    assert probe(path).duration_s == pytest.approx(4.0, abs=0.05)


def no_index(plain: Path, folder: Path) -> Path:
    path = folder / "recording.mp4"
    path.write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    return path


def text(folder: Path, name: str = "notes.mp4") -> Path:
    path = folder / name
    path.write_text("Dear diary, today I renamed a file.\n" * 200)
    return path


def empty(folder: Path) -> Path:
    path = folder / "nothing.mp4"
    path.touch()
    return path


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


def zeros(folder: Path) -> Path:
    path = folder / "zeros.mp4"
    path.write_bytes(bytes(100_000))
    return path


def ruined(plain: Path, folder: Path) -> Path:
    """A video of which no packet decodes."""
    with av.open(str(plain)) as container:
        count = sum(1 for p in container.demux(video=0) if p.size)
        video = [p for p in container.streams.video][0].index
    assert video == 0
    return damaged(plain, folder / "ruined.mp4", 0, count)


BAD = {
    "missing": (lambda plain, d: d / "no.mp4", "no such file", "ls "),
    "missing-folder": (lambda plain, d: d / "no" / "x.mp4", "no such file", "check the path"),
    "misspelt": (lambda plain, d: (text(d, "clip.mp4"), d / "clpi.mp4")[1], "no such file", "Did you mean .*clip.mp4'"),
    "below-a-file": (lambda plain, d: text(d) / "x.mp4", "no such file", "check the path"),
    "directory": (lambda plain, d: d, "is a directory", "ls "),
    "empty": (lambda plain, d: empty(d), r"is empty \(0 bytes\)", "again"),
    "pipe": (lambda plain, d: pipe(d), "is not a regular file", "Save"),
    "text-renamed": (lambda plain, d: text(d), "is not a video, a picture or a sound", "file "),
    "text": (lambda plain, d: text(d, "notes.txt"), "is not a video, a picture or a sound", "file "),
    "text-with-a-new-line": (lambda plain, d: text(d, "a\nb.mp4"), "is not a video", r"file \$'.*a\\nb.mp4'"),
    "zeros": (lambda plain, d: zeros(d), "is not a video, a picture or a sound", "file "),
    "no-index": (lambda plain, d: no_index(plain, d), "is cut off: its index", "again"),
    "name-too-long": (lambda plain, d: d / ("x" * 5000), "is not a usable file name", "Give the path"),
    "zero-byte-in-the-name": (lambda plain, d: d / "a\0b", "is not a usable file name", "Give the path"),
}


@pytest.mark.parametrize("how", ["probe", "load"])
@pytest.mark.parametrize("case", BAD)
def test_bad_file_is_told_in_two_lines(plain: Path, tmp_path: Path, case: str, how: str) -> None:
    build, message, hint = BAD[case]
    path = build(plain, tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        probe(path) if how == "probe" else load_clip(path, VIEW)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert ascii(path.name)[1:-1] in lines[0]
    assert re.search(hint, lines[1])
    assert lines[0].count(ascii(path.name)[1:-1]) == 1


@pytest.mark.parametrize("case", ["missing", "text-renamed", "empty"])
def test_bad_sound_file_is_told_by_its_own_name(plain: Path, tmp_path: Path, case: str) -> None:
    bad = BAD[case][0](plain, tmp_path)
    with pytest.raises(InputError, match=bad.name):
        load_clip(plain, VIEW, audio_path=bad)


def test_sound_file_without_sound_is_told(make, plain: Path) -> None:
    with pytest.raises(InputError, match=r"no sound track in '.*mute.mp4'"):
        load_clip(plain, VIEW, audio_path=make("mute.mp4", Movie(drawings(50))))


def test_sound_file_of_no_length_is_told(plain: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "zero.wav"
    with wave.open(str(nothing), "wb") as file:  # FFmpeg writes no file at all without a sample
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
    with pytest.raises(InputError, match=r"no sound can be decoded from '.*zero.wav'") as caught:
        load_clip(plain, VIEW, audio_path=nothing)
    assert caught.value.hint == "Give another file with sound, or record it again."
    with pytest.raises(InputError, match=r"no sound can be decoded from '.*zero.wav'"):
        load_clip(nothing, VIEW)


def test_track_of_no_length_is_absent(make) -> None:
    path = make("hollow.mkv", Movie(drawings(50)), Sound(np.zeros((1, 0), np.float32), **PCM))
    clip = load_clip(path, VIEW)
    assert clip.audio == "absent"
    assert "the sound track is empty" in clip.notes


def test_video_of_which_nothing_decodes_is_told(make, tmp_path: Path) -> None:
    source = make("mute.mp4", Movie(drawings(50)))
    with pytest.raises(InputError, match=r"ruined.mp4"):
        load_clip(ruined(source, tmp_path), VIEW)


def test_video_of_which_only_the_sound_decodes_has_no_frames(plain: Path, tmp_path: Path) -> None:
    clip = load_clip(ruined(plain, tmp_path), VIEW)
    assert (len(clip.frames), clip.audio) == (0, "used")
    assert "no picture could be decoded" in clip.notes


def test_file_that_may_not_be_read_is_told(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.mp4"
    path.write_bytes(plain.read_bytes())
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may read everything
    with pytest.raises(InputError, match=r"mine.mp4' may not be read") as caught:
        probe(path)
    assert "chmod u+r" in str(caught.value)


@pytest.mark.parametrize("error", [MemoryError(), av.error.MemoryError(12, "Cannot allocate memory")])
def test_memory_that_runs_out_is_a_resource_error(plain: Path, monkeypatch: pytest.MonkeyPatch, error) -> None:
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("crab_core.media.frames.to_rgb", fail)
    with pytest.raises(ResourceError, match=r"plain.mp4"):
        load_clip(plain, VIEW)


def test_ffmpeg_is_not_heard(plain: Path, tmp_path: Path) -> None:
    path = damaged(plain, tmp_path / "holes.mp4", 50, 60)
    code = "from crab_core.media import *; from crab_core.types import View"
    code += f"; load_clip({str(path)!r}, View((0.0, 3.0), ()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_planning_needs_no_ffmpeg() -> None:
    code = "import sys, crab_core.media as media; media.published_frame_times(1.0, 2)"
    code += "; assert not {'av', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_public_name_is_an_attribute_error() -> None:
    import crab_core.media as media

    assert "load_clip" in dir(media)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = media.nonsense
