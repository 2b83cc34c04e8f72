"""Long clips in windows: `python benchmarks/windows.py --out windows.json`.

Generated scenes of ten seconds are joined into one video of 30 minutes, whose events are known, and into the same video
in files of 30 seconds. Told: F1 of the events at IoU 0.5 for several strides, for the same files one by one and for
one look at the whole clip; the time of each; and the peak memory of processes that look at 5 and at 30 minutes.
The joints lie at 7, 17, 27 ... seconds, so that no window of the default is one scene.
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
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from crab_core.engine.merging import Window, WindowEvents, merge
from crab_core.engine.session import Model, Seen, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.evaluate.seconds import label_key
from crab_core.media.writing import write_video
from crab_core.registry import TASKS
from crab_core.types import Decoding, Event, Request, Track
from crab_core.world.bank import load_bank
from crab_core.world.labels import label
from crab_core.world.picture import render_frames
from crab_core.world.scene import sample_scene
from crab_core.world.sound import render_sound

FPS, SIZE_PX, SCENE_S, CUT_S, PIECE_S, RATE_HZ = 2, 112, 10, 3, 30, 16_000
CHILD = """
import sys
from pathlib import Path
from crab_core.engine.session import load
from crab_core.types import Request
load(sys.argv[1], device="cpu").infer(Request(Path(sys.argv[2]), "avvp"))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    """Make the files, measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--strides", type=float, nargs="+", default=[5.0, 10.0], help="seconds")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        truth = make(Path(folder), args.minutes, args.seed)
        model = load(args.model, device="cpu")
        figures = {
            "machine": {"cores": os.cpu_count(), "system": f"{platform.machine()} {platform.system()}"},
            "date": datetime.now(UTC).date().isoformat(),
            "model": args.model,
            "minutes": args.minutes,
            "events": len(truth),
            **measure(model, Path(folder), truth, args.strides),
            "peak_mib": {name: peak_mib(args.model, Path(folder) / f"{name}.mp4") for name in ("five", "whole")},
        }
    print(json.dumps(figures, indent=2))
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def make(folder: Path, minutes: int, seed: int) -> list[Event]:
    """`whole.mp4`, its first five minutes as `five.mp4`, its pieces as `piece000.mp4` ...; the true events."""
    bank, frames, sounds, truth = load_bank(), [], [], []
    times = [i / FPS for i in range(SCENE_S * FPS)]
    for index in range(minutes * 60 // SCENE_S + 1):
        scene = sample_scene("test", index, seed=seed, bank=bank)
        frames.append(render_frames(scene, bank, SIZE_PX, times))
        sounds.append(render_sound(scene, bank))
        truth += events_of(scene, index * SCENE_S - CUT_S, minutes * 60)
    pictures = np.concatenate(frames)[CUT_S * FPS :][: minutes * 60 * FPS]
    sound = np.concatenate(sounds)[CUT_S * RATE_HZ :][: minutes * 60 * RATE_HZ]
    save(folder / "whole.mp4", pictures, sound, 0, minutes * 60)
    save(folder / "five.mp4", pictures, sound, 0, min(minutes, 5) * 60)
    for start_s in range(0, minutes * 60, PIECE_S):
        save(folder / f"piece{start_s // PIECE_S:03d}.mp4", pictures, sound, start_s, start_s + PIECE_S)
    return joined(truth)


def events_of(scene: Any, start_s: int, limit_s: int) -> list[Event]:
    """What is true of a scene that begins at `start_s` of the video, as video parsing tells it."""
    facts = label(scene)
    sounding = [fact for fact in facts.seen if fact.can_sound]
    spans: list[tuple[str, int, int, Track]] = [(f.name, f.start_s, f.end_s, "visual") for f in sounding]
    spans += [(f.name, f.start_s, f.end_s, "audio") for f in facts.heard]
    cut = [(n, max(0, a + start_s), min(limit_s, b + start_s), track) for n, a, b, track in spans]
    return [Event(name, float(a), float(b), track) for name, a, b, track in cut if a < b]


def joined(events: Sequence[Event]) -> list[Event]:
    """Events of one label and track that touch at a joint are one."""
    longest = max(event.end_s for event in events)
    return list(merge([WindowEvents(Window(-1.0, longest + 1.0), tuple(events))]))


def save(path: Path, pictures: Any, sound: Any, start_s: int, end_s: int) -> None:
    """A stretch of the joined scenes as a file."""
    part = pictures[start_s * FPS : end_s * FPS]
    write_video(path, part, FPS, sound[start_s * RATE_HZ : end_s * RATE_HZ], RATE_HZ, preset="veryfast")


def measure(model: Model, folder: Path, truth: Sequence[Event], strides: Sequence[float]) -> dict[str, Any]:
    """F1 and seconds by how the clip is looked at."""
    whole = folder / "whole.mp4"
    model.infer(Request(folder / "piece000.mp4", "avvp"))  # warms everything up
    rows: dict[str, Any] = {}
    for stride_s in strides:
        result, spent = timed(lambda stride_s=stride_s: model.infer(Request(whole, "avvp", stride_s=stride_s)))
        rows[f"windows of 10 s, one every {stride_s:g} s"] = {"f1": f1(result.events, truth), **spent}
    pieces, spent = timed(lambda: in_pieces(model, folder))
    rows["files of 30 s, the same windows"] = {"f1": f1(pieces, truth), **spent}
    looked, spent = timed(lambda: at_ten_places(model, whole))
    rows["one look at ten places"] = {"f1": f1(looked, truth), **spent}
    return {"ways": rows}


def in_pieces(model: Model, folder: Path) -> list[Event]:
    """The events of every piece, in seconds of the whole."""
    found: list[Event] = []
    for index, piece in enumerate(sorted(folder.glob("piece*.mp4"))):
        events = model.infer(Request(piece, "avvp")).events
        found += [replace(e, start_s=e.start_s + index * PIECE_S, end_s=e.end_s + index * PIECE_S) for e in events]
    return joined(found) if found else []


def at_ten_places(model: Model, clip: Path) -> tuple[Event, ...]:
    """What the network tells of the whole clip, sampled at ten places."""
    seen, watch, task = Seen(model, Request(clip, "avvp")), Stopwatch(), TASKS["avvp"].load()
    _, prompt = seen.prompt(seen.request, watch)
    _, _, encoded = seen.encode(task, watch)
    generated = model.network.generate(encoded, prompt, Decoding())
    return seen.read(seen.request, task, generated, Decoding(), watch).events


def timed(work: Any) -> tuple[Any, dict[str, float]]:
    """What the work gives, its seconds, and those of processors: the latter do not depend on who else computes."""
    began, computed = time.perf_counter(), time.process_time()
    done = work()
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - computed}
    return done, {name: round(value, 2) for name, value in spent.items()}


def f1(told: Sequence[Event], truth: Sequence[Event]) -> float:
    """2 TP / (told + true): pairs of one label and track at IoU 0.5 or more, best first, each event in one pair."""
    pairs = sorted(
        ((iou(one, other), i, j) for i, one in enumerate(told) for j, other in enumerate(truth) if same(one, other)),
        reverse=True,
    )
    used: tuple[set[int], set[int]] = (set(), set())
    for overlap, i, j in pairs:
        if overlap >= 0.5 and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
    return round(2 * len(used[0]) / max(1, len(told) + len(truth)), 4)


def same(one: Event, other: Event) -> bool:
    """True for one label on one track."""
    return one.track == other.track and label_key(one.label) == label_key(other.label)


def iou(one: Event, other: Event) -> float:
    """Shared time over covered time."""
    shared = min(one.end_s, other.end_s) - max(one.start_s, other.start_s)
    return max(0.0, shared) / (max(one.end_s, other.end_s) - min(one.start_s, other.start_s))


def peak_mib(model: str, clip: Path) -> float:
    """Peak resident memory of a process that looks at the clip."""
    said = subprocess.run([sys.executable, "-c", CHILD, model, str(clip)], capture_output=True, text=True, check=True)
    return round(int(said.stdout.split()[-1]) / 1024, 1)


if __name__ == "__main__":
    main()
