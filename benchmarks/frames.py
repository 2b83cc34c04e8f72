"""How fast and how small frames by seeking are: `python benchmarks/frames.py --out frames.json`.

Ten frames of a 10-second and of a 10-minute H.264 file by `load_clip` beside decoding the whole file in order, with a
bit-by-bit comparison; and the peak memory of a process that takes ten frames and ten seconds of sound from a 2-hour
file beside a 2-minute one. It makes its own files (about two minutes of encoding), in a folder that `--keep` retains.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from record import commit

from crab_core.media import load_clip, probe, published_frame_times
from crab_core.media.frames import to_rgb
from crab_core.media.orientation import Orientation
from crab_core.types import View

FRAMES = 10
CHILD = """
import sys
{imports}
from pathlib import Path
from crab_core.media import load_clip, probe, published_frame_times
from crab_core.types import View
path = Path(sys.argv[1])
starts = published_frame_times(probe(path).duration_s, 10)
load_clip(path, View(starts, tuple((s, s + 1.0) for s in starts)))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
SURROUNDINGS = {"load_clip alone": "", "beside a language model's code": "from transformers import LlamaForCausalLM"}


def main() -> None:
    """Run everything, print two tables, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--keep", type=Path, help="folder for the files, made if missing and used again if there")
    parser.add_argument("--repeats", type=int, default=3, help="best of so many runs")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = {
            "machine": {
                "cores": os.cpu_count(),
                "system": f"{platform.machine()} {platform.system()}",
                "av": av.__version__,
            },
            "commit": commit(),
            "date": time.strftime("%Y-%m-%d"),
            "speed": [
                speed(*case, folder, args.repeats) for case in (("10 s", 300, 30, 1280), ("10 min", 15000, 25, 640))
            ],
            "memory": [memory(suffix, name, folder) for suffix in ("mp4", "mkv") for name in SURROUNDINGS],
        }
    tell(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


def speed(name: str, frames: int, fps: int, width: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds for ten frames by seeking and by decoding in order, taken in turn, and whether they are the same."""
    path = folder / f"speed-{frames}.mp4"
    if not path.exists():
        encode(path, frames, fps, width, width * 9 // 16)
    times = published_frame_times(probe(path).duration_s, FRAMES)
    wanted = [i * frames // FRAMES for i in range(FRAMES)]
    seeking, ordered = [], []
    for _ in range(repeats):
        spent, clip = timed(lambda: load_clip(path, View(times, ())))
        seeking.append(spent)
        spent, expected = timed(lambda: in_order(path, wanted))
        ordered.append(spent)
    (wall, cpu), (ordered_wall, ordered_cpu) = (np.min(runs, axis=0).round(4).tolist() for runs in (seeking, ordered))
    return {
        "clip": f"{name}, {width}x{width * 9 // 16} at {fps} frames/s, keyframe every 250",
        "seeking_s": wall,
        "in_order_s": ordered_wall,
        "ratio": round(wall / ordered_wall, 4),
        "processor_time_ratio": round(cpu / ordered_cpu, 4),
        "bit_identical": bool(np.array_equal(clip.frames, np.stack(expected))),
    }


def timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """How many seconds the work took by the clock and of all processors, and what it gave."""
    start, start_cpu = time.perf_counter(), time.process_time()
    made = work()
    return (time.perf_counter() - start, time.process_time() - start_cpu), made


def in_order(path: Path, wanted: list[int]) -> list[np.ndarray]:
    """The wanted frames by decoding the whole file in order, with all the threads that FFmpeg likes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        chosen = set(wanted)
        return [
            to_rgb(frame, (frame.width, frame.height), Orientation())
            for i, frame in enumerate(container.decode(stream))
            if i in chosen
        ]


def encode(path: Path, frames: int, fps: int, width: int, height: int) -> None:
    """H.264 of a drifting texture in which every frame carries its number as a row of 16 dark or light blocks."""
    rng = np.random.default_rng(0)
    texture = rng.normal(128, 40, (height // 8, width // 8)).repeat(8, 0).repeat(8, 1).clip(16, 235).astype(np.uint8)
    luma = np.full((height, width), 128, np.uint8)
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = width, height, "yuv420p", 250
        for i in range(frames):
            luma[: texture.shape[0], : texture.shape[1]] = np.roll(texture, (i, 2 * i), (0, 1))
            for bit in range(16):
                luma[:16, bit * 16 : bit * 16 + 16] = 235 if i >> bit & 1 else 16
            planes[:height] = luma
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def memory(suffix: str, surroundings: str, folder: Path) -> dict[str, Any]:
    """Peak memory in MiB of a process that takes ten frames and seconds from 2 minutes and from 2 hours."""
    unit = folder / f"unit.{suffix}"
    if not unit.exists():
        encode(folder / "pictures.mp4", 300, 25, 320, 176)
        add_sound(folder / "pictures.mp4", unit, 12)
    peaks = {}
    for name, rounds in (("two_minutes", 10), ("two_hours", 600)):
        path = folder / f"{name}.{suffix}"
        if not path.exists():
            repeat(unit, path, rounds, 12.0)
        code = CHILD.format(imports=SURROUNDINGS[surroundings])
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
        peaks[f"{name}_mib"] = round(int(done.stdout) / 1024, 1)
    ratio = round(peaks["two_hours_mib"] / peaks["two_minutes_mib"], 3)
    return {"clip": f"{suffix}, 25 frames/s, AAC at 44.1 kHz; {surroundings}", **peaks, "ratio": ratio}


def add_sound(pictures: Path, target: Path, seconds: int) -> None:
    """The pictures with a tone beside them."""
    with av.open(str(pictures)) as source, av.open(str(target), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0])
        audio = out.add_stream("aac", rate=44_100, layout="mono")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                out.mux(packet)
        tone = 0.3 * np.sin(np.arange(seconds * 44_100) * 0.05).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        out.mux(audio.encode(frame))
        out.mux(audio.encode())


def repeat(source: Path, target: Path, rounds: int, period_s: float) -> None:
    """A long file for little work: the packets of `source` over and over, each round `period_s` later."""
    with av.open(str(source)) as short, av.open(str(target), "w") as long:
        tracks = [long.add_stream_from_template(stream) for stream in short.streams]
        bases = [stream.time_base for stream in short.streams]
        packets = [p for p in short.demux() if p.size and p.dts is not None]
        first = [min(p.dts for p in packets if p.stream.index == i) for i in range(len(tracks))]
        packets = [p for p in packets if (p.dts - first[p.stream.index]) * p.time_base < period_s - 1e-6]
        facts = [(p.stream.index, bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in packets]
        for i in range(rounds):
            for index, content, pts, dts, duration, is_key in facts:
                shift = int(i * period_s / bases[index])
                packet = av.Packet(content)
                packet.stream, packet.time_base, packet.is_keyframe = tracks[index], bases[index], is_key
                packet.pts, packet.dts, packet.duration = pts + shift, dts + shift, duration
                long.mux(packet)


def tell(figures: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{'ten frames of':58} {'seeking':>9} {'in order':>9} {'ratio':>7} {'of work':>7}  same bits")
    for row in figures["speed"]:
        times = (
            f"{row['seeking_s']:8.3f}s {row['in_order_s']:8.3f}s {row['ratio']:7.3f} {row['processor_time_ratio']:7.3f}"
        )
        print(f"{row['clip']:58} {times}  {'yes' if row['bit_identical'] else 'NO'}")
    print(f"\n{'peak memory, ten frames and ten seconds of sound':68} {'2 min':>9} {'2 h':>9} {'ratio':>7}")
    for row in figures["memory"]:
        print(f"{row['clip']:68} {row['two_minutes_mib']:5.0f} MiB {row['two_hours_mib']:5.0f} MiB {row['ratio']:7.3f}")


if __name__ == "__main__":
    main()
