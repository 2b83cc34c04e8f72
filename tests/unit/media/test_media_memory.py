"""A long file costs no more memory than a short one: only what is asked for is held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from media_files import Movie, Sound, drawings, repeat, tones

LOAD = """
import resource, sys
from pathlib import Path
from crab_core.media import load_clip, probe, published_frame_times
from crab_core.types import View
path = Path(sys.argv[1])
duration_s = probe(path).duration_s
starts = published_frame_times(duration_s, 10)
clip = load_clip(path, View(starts, tuple((s, s + 1.0) for s in starts)))
assert clip.frames.shape == (10, 180, 320, 3) and clip.waveform.shape == (160_000,) and clip.audio == "used"
print(duration_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(path: Path) -> tuple[float, int]:
    """The clip's duration in seconds and the peak memory of a process that loads it."""
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    duration_s, peak = done.stdout.split()
    return float(duration_s), int(peak)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_two_hours_take_the_memory_of_two_minutes(make, tmp_path: Path, suffix: str) -> None:
    source = make(
        f"unit.{suffix}", Movie(drawings(60, 320, 180), fps=5, gop=30), Sound(tones(12, 16_000), rate_hz=16_000)
    )
    short_s, short = peak_kib(repeat(source, tmp_path / f"short.{suffix}", 10, 12.0))
    long_s, long = peak_kib(repeat(source, tmp_path / f"long.{suffix}", 600, 12.0))
    assert (short_s, long_s) == (pytest.approx(120, abs=0.5), pytest.approx(7200, abs=0.5))
    assert long <= 1.1 * short
