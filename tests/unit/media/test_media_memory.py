"""A long file costs no more memory than a short one: only what is asked for is held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from media_files import Movie, Sound, drawings, repeat, tones

LOAD = """
import sys
from pathlib import Path
from crab_core.media import load_clip, probe, published_frame_times
from crab_core.types import View
path = Path(sys.argv[1])
duration_s = probe(path).duration_s
starts = published_frame_times(duration_s, 10)
clip = load_clip(path, View(starts, tuple((s, s + 1.0) for s in starts)))
assert clip.frames.shape == (10, 180, 320, 3) and clip.waveform.shape == (160_000,) and clip.audio == "used"
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(duration_s, peak)
"""


def peak_kib(path: Path) -> tuple[float, int]:
    """The clip's duration in seconds and the peak memory of a process that loads it.

    Not by `ru_maxrss`, which a new process inherits from the one that started it.
    """
    done = subprocess.run([sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, check=True)
    duration_s, peak = done.stdout.split()
    return float(duration_s), int(peak)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's record of peak memory")
@pytest.mark.parametrize(("suffix", "index_bytes"), [("mkv", 0), ("mp4", 100)])
def test_two_hours_take_the_memory_of_two_minutes(make, tmp_path: Path, suffix: str, index_bytes: int) -> None:
    """FFmpeg holds the whole index of an MP4 file, some 90 bytes a packet, as long as the file is open."""
    movie = Movie(drawings(60, 320, 180), fps=5, gop=30)
    source = make(f"unit.{suffix}", movie, Sound(tones(12, 16_000), rate_hz=16_000))
    short_s, short = peak_kib(repeat(source, tmp_path / f"short.{suffix}", 10, 12.0))
    long_s, long = peak_kib(repeat(source, tmp_path / f"long.{suffix}", 600, 12.0))
    assert (short_s, long_s) == (pytest.approx(120, abs=0.5), pytest.approx(7200, abs=0.5))
    packets = 7200 * (5 + 16_000 / 1024)
    assert long <= 1.1 * short + index_bytes * packets / 1024


def test_decoders_are_let_go_without_waiting_for_the_collector(plain: Path) -> None:
    code = f"""
import gc, sys
gc.disable()
from pathlib import Path
from crab_core.media import load_clip
from crab_core.types import View
threads = lambda: int(next(l.split()[1] for l in open("/proc/self/status") if l.startswith("Threads")))
counts = []
for _ in range(4):
    load_clip(Path({str(plain)!r}), View((0.0, 1.0, 3.0), ((0.0, 1.0), (3.5, 4.0))))
    counts.append(threads())
assert counts[0] == counts[-1], counts
"""
    subprocess.run([sys.executable, "-c", code], check=True)
