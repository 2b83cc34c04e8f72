"""Videos that are written can be read back, and play where only the plainest H.264 does."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media_files import drawings, tones

from crab_core.errors import InputError, ResourceError, UsageError
from crab_core.media import load_clip, probe, write_video
from crab_core.types import View


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (1, 1), (64, 47)], ids=["even", "odd", "one-pixel", "odd-height"])
def test_what_is_written_is_read_back(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = np.full((20, size[1], size[0], 3), 60, np.uint8)
    frames[:10] += 120
    sound = tones(2, 16_000)[0]
    write_video(tmp_path / "out.mp4", frames, 10, sound)
    even = tuple(side + side % 2 for side in size)
    found = probe(tmp_path / "out.mp4")
    assert (found.size, found.duration_s, found.video_codec, found.audio_codec) == (even, 2.0, "h264", "aac")
    clip = load_clip(tmp_path / "out.mp4", View((0.5, 1.5), ((0.0, 2.0),)))
    assert np.abs(clip.frames[0].astype(int) - 180).max() <= 6
    assert np.abs(clip.frames[1].astype(int) - 60).max() <= 6
    assert np.abs(clip.waveform[4_000:28_000] - sound[4_000:28_000]).max() < 0.05
    assert clip.notes == ()


def test_index_is_in_front_and_pixels_are_plain(tmp_path: Path) -> None:
    write_video(tmp_path / "out.mp4", drawings(10), 29.97, tones(1, 48_000, 2), 48_000)
    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        assert container.streams.audio[0].codec_context.layout.name == "stereo"


def test_silent_film(tmp_path: Path) -> None:
    write_video(tmp_path / "out.mp4", drawings(10), 5)
    assert probe(tmp_path / "out.mp4").has_audio is False


BAD = {
    "no-frames": (np.zeros((0, 4, 4, 3), np.uint8), 5, None, "frames must be"),
    "gray": (np.zeros((2, 4, 4), np.uint8), 5, None, "frames must be"),
    "float": (np.zeros((2, 4, 4, 3)), 5, None, "frames must be"),
    "rate-zero": (drawings(2), 0, None, "'0' frames a second"),
    "rate-nan": (drawings(2), float("nan"), None, "'nan' frames a second"),
    "three-channels": (drawings(2), 5, np.zeros((3, 100), np.float32), "sound must be"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_written_is_told(tmp_path: Path, case: str) -> None:
    frames, fps, sound, message = BAD[case]
    with pytest.raises(UsageError, match=message):
        write_video(tmp_path / "out.mp4", frames, fps, sound)
    assert not (tmp_path / "out.mp4").exists()


def test_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write '.*no/out.mp4'"):
        write_video(tmp_path / "no" / "out.mp4", drawings(2), 5)


def test_full_disk_is_told() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(ResourceError, match="the disk is full"):
        write_video(Path("/dev/full"), drawings(2), 5)
