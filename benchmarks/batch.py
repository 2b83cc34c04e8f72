"""Folders: throughput against a plain loop, memory by number of clips, opening of a long journal, kills and resumes.

    python benchmarks/batch.py speed CLIPS --task ave          # pipeline and plain loop, same weights, one run
    python benchmarks/batch.py memory --task avqa --question "What is heard first?"
    python benchmarks/batch.py journal --rows 1000000
    python benchmarks/batch.py kills CLIPS --task ave --kills 20
    python benchmarks/batch.py together CLIPS --task ave       # two runs in one folder, three shards and a merge

CLIPS is a folder, for example of `crab data synth -o CLIPS --clips 200`. Prints a table of tab-separated lines.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

CRAB = [sys.executable, "-m", "crab_cli"]


def requests_of(options: argparse.Namespace):
    """What is asked of each clip of the folder."""
    from crab_core.batch.plan import of_folder
    from crab_core.types import Request

    plan = of_folder(options.clips, Request(options.clips, options.task, options.question), glob="*.mp4")
    return [item.request for item in plan.items]


def speed(options: argparse.Namespace) -> None:
    """Clips a second of a plain loop and of the pipeline, in turn, three times; the model is loaded once each."""
    from crab_core.batch.bench import measure
    from crab_core.batch.engine import EngineOptions, start_engine
    from crab_core.batch.worker import WorkerSpec
    from crab_core.engine.resolve import folder_of
    from crab_core.engine.session import load
    from crab_core.progress import ignore

    requests, model = requests_of(options), load(options.model, device="cpu")
    spec = WorkerSpec(folder_of(options.model), device="cpu", batch=options.batch, decoders=options.decoders)
    model.infer(requests[0])
    best = [0.0, 0.0]
    print("round\tplain clips/s\tpipeline clips/s\tratio\tbusy cores\tpeak MiB")
    for number in range(options.rounds):
        began = time.perf_counter()
        texts = [model.infer(request).raw_text for request in requests]
        plain = len(requests) / (time.perf_counter() - began)
        found = measure(
            requests,
            lambda: start_engine("local", spec, EngineOptions(options.workers), ignore),
            workers=options.workers,
        )
        best = [max(best[0], plain), max(best[1], found.clips_per_s)]
        cores = "" if found.cores is None else f"{found.cores:.2f}"
        ratio = found.clips_per_s / plain
        print(f"{number}\t{plain:.2f}\t{found.clips_per_s:.2f}\t{ratio:.2f}\t{cores}\t{found.peak_memory_mib:.0f}")
    print(f"best\t{best[0]:.2f}\t{best[1]:.2f}\t{best[1] / best[0]:.2f}\tof {os.cpu_count()}\t")
    same = sum(a == b for a, b in zip(texts, _texts(spec, requests), strict=True))
    print(f"same texts\t{same}/{len(texts)}")


def _texts(spec, requests) -> list[str]:
    from crab_core.batch.worker import Worker

    with closing(Worker(spec)) as worker:
        chunks = (requests[i : i + worker.batch] for i in range(0, len(requests), worker.batch))
        return [getattr(outcome, "raw_text", "") for outcomes in worker.work(chunks) for outcome in outcomes]


def memory(options: argparse.Namespace) -> None:
    """Peak memory of `crab infer` over 100 and over 1000 clips: copies of one that differ in a few bytes."""
    print("clips\tpeak MiB\tseconds")
    peaks = []
    for count in (100, 1000):
        with tempfile.TemporaryDirectory() as folder:
            clips = copies(Path(folder) / "clips", options.source, count)
            began = time.perf_counter()
            peaks.append(peak_of(infer(clips, Path(folder) / "out", options)))
            print(f"{count}\t{peaks[-1]:.0f}\t{time.perf_counter() - began:.1f}")
    print(f"ratio\t{peaks[1] / peaks[0]:.3f}\t")


def copies(folder: Path, source: Path, count: int) -> Path:
    """Copies of a clip with a free box of their own behind it, so that each has a key of its own."""
    folder.mkdir()
    data = source.read_bytes()
    for number in range(count):
        (folder / f"{number:04d}.mp4").write_bytes(data + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return folder


def peak_of(command: list[str]) -> float:
    """Peak resident size in MiB of a command, measured by a process of its own."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    return float(subprocess.run([sys.executable, "-c", code, *command], capture_output=True, check=True).stdout)


def infer(clips: Path, out: Path, options: argparse.Namespace, *more: str) -> list[str]:
    """The command line of a run."""
    question = [options.question] if options.question else []
    words = [str(clips), *question, "--task", options.task, "-m", options.model, "--device", "cpu", "-o", str(out)]
    return [*CRAB, "infer", *words, "-q", *more]


def journal(options: argparse.Namespace) -> None:
    """Seconds to open a journal of many rows, and to ask it for as many keys."""
    from crab_core.batch.journal import Journal, result_row
    from crab_core.batch.keys import Key
    from crab_core.types import Answer, Result

    result = Result("clip.mp4", "mini", "avqa", "Who?", Answer("dog"), (), (), "dog", "used", 2.0, 1.0)
    row = result_row(Key("0" * 24, "0" * 16), result)
    with tempfile.TemporaryDirectory() as folder:
        with (Path(folder) / "results.jsonl").open("wb") as file:
            file.writelines(row[:9] + b"%024x" % number + row[33:] for number in range(options.rows))
        began = time.perf_counter()
        opened = Journal(Path(folder))
        spent = time.perf_counter() - began
        began = time.perf_counter()
        found = sum(opened.is_finished(Key(f"{number:024x}", "0" * 16)) for number in range(options.rows))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("rows\topening s\tasking s\tfound\tMB on disk\tpeak MiB")
        size = len(row) * options.rows / 1e6
        print(f"{options.rows}\t{spent:.2f}\t{time.perf_counter() - began:.2f}\t{found}\t{size:.0f}\t{peak:.0f}")


def rows(out: Path) -> list[bytes]:
    """The sorted rows of a run."""
    path = out / "results.jsonl"
    return sorted(path.read_bytes().splitlines()) if path.exists() else []


def kills(options: argparse.Namespace) -> None:
    """A run killed at random moments, against one that was not."""
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, pieces = Path(folder) / "whole", Path(folder) / "pieces"
        subprocess.run(infer(options.clips, whole, options), check=True, stdout=subprocess.DEVNULL)
        total = len(rows(whole))
        for _ in range(options.kills):
            goal = min(total, len(rows(pieces)) + dice.randint(1, max(1, total // options.kills)))
            running = subprocess.Popen(infer(options.clips, pieces, options), stdout=subprocess.DEVNULL)
            while running.poll() is None and len(rows(pieces)) < goal:
                time.sleep(0.002)
            time.sleep(dice.random() * 0.2)
            running.kill()
            running.wait()
        at_the_end = len(rows(pieces))
        subprocess.run(infer(options.clips, pieces, options), check=True, stdout=subprocess.DEVNULL)
        names = {row[:52] for row in rows(pieces)}
        print("clips\tkills\tdone after the last kill\tequal to the uninterrupted run\ttwice\tlost")
        equal, twice = rows(pieces) == rows(whole), len(rows(pieces)) - len(names)
        print(f"{total}\t{options.kills}\t{at_the_end}\t{equal}\t{twice}\t{total - len(names)}")


def together(options: argparse.Namespace) -> None:
    """Two runs in one folder, and three shards with a merge, against one run."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        subprocess.run(infer(options.clips, top / "one", options), check=True, stdout=subprocess.DEVNULL)
        both = [subprocess.Popen(infer(options.clips, top / "two", options), stdout=subprocess.DEVNULL) for _ in "ab"]
        codes = [run.wait() for run in both]
        for share in "123":
            command = infer(options.clips, top / share, options, "--shard", f"{share}/3")
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        merging = [*CRAB, "merge", *(str(top / share) for share in "123"), "-o", str(top / "all"), "-q"]
        subprocess.run(merging, check=True, stdout=subprocess.DEVNULL)
        print("what\trows\tequal to one run")
        print(f"one run\t{len(rows(top / 'one'))}\t")
        print(f"two at once, exit {codes}\t{len(rows(top / 'two'))}\t{rows(top / 'two') == rows(top / 'one')}")
        print(f"three shards, merged\t{len(rows(top / 'all'))}\t{rows(top / 'all') == rows(top / 'one')}")


def main() -> None:
    """Read the words and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("speed", speed), ("kills", kills), ("together", together), ("memory", memory)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        if name != "memory":
            command.add_argument("clips", type=Path)
        command.add_argument("--task", default="avqa")
        command.add_argument("--question")
        command.add_argument("--model", default="mini")
    commands.choices["speed"].add_argument("--batch", type=int, default=0)
    commands.choices["speed"].add_argument("--decoders", type=int, default=2)
    commands.choices["speed"].add_argument("--workers", type=int, default=1)
    commands.choices["speed"].add_argument("--rounds", type=int, default=3)
    commands.choices["kills"].add_argument("--kills", type=int, default=20)
    commands.choices["kills"].add_argument("--seed", type=int, default=0)
    commands.choices["memory"].add_argument("--source", type=Path, required=True, help="the clip that is copied")
    command = commands.add_parser("journal")
    command.set_defaults(function=journal)
    command.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    options.function(options)


if __name__ == "__main__":
    main()
