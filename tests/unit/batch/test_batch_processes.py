"""Real processes: kill -9 and resume, two runs in one folder, worker processes that die, ctrl-c, full disks."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fake_family import write_clip


def rows(out: Path, name: str = "results.jsonl") -> list[bytes]:
    path = out / name
    return sorted(path.read_bytes().splitlines()) if path.exists() else []


def many(folder: Path, count: int) -> Path:
    """Clips that differ in content and cost little: a suffix of zeros changes what the file is, not what it shows."""
    folder.mkdir()
    data = write_clip(folder / "first.mp4", seconds=1).read_bytes()
    for number in range(count - 1):
        (folder / f"{number:03d}.mp4").write_bytes(data + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    return folder


def wait_for(out: Path, count: int, running: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while len(rows(out)) < count and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def resumed_equals_whole(process, clips: Path, tmp_path: Path, kills: int, slow_s: str, dice: random.Random) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    assert process.run("infer", clips, "Who?", "-o", whole, "-q")[0] == 0
    total, killed = len(rows(whole)), 0
    while killed < kills:
        before = len(rows(pieces))
        running = process.start("infer", clips, "Who?", "-o", pieces, "-q", SLOW_S=slow_s)
        wait_for(pieces, min(total, before + dice.randrange(1, max(2, total // kills))), running)
        time.sleep(dice.random() * float(slow_s))
        running.kill()
        running.communicate()
        killed += 1
        assert killed > 1 or 0 < len(rows(pieces)) < total, "killed in the middle"
    assert process.run("infer", clips, "Who?", "-o", pieces, "-q")[0] == 0
    assert rows(pieces) == rows(whole) and len({row[:52] for row in rows(pieces)}) == total


def test_a_killed_run_goes_on_where_it_was(process, tmp_path: Path) -> None:
    resumed_equals_whole(process, many(tmp_path / "clips", 24), tmp_path, 1, "0.05", random.Random(0))


@pytest.mark.slow
def test_twenty_kills_lose_and_double_nothing(process, tmp_path: Path) -> None:
    resumed_equals_whole(process, many(tmp_path / "clips", 200), tmp_path, 20, "0.02", random.Random(1))


def test_two_runs_share_one_folder(process, tmp_path: Path) -> None:
    clips, out = many(tmp_path / "clips", 40), tmp_path / "out"
    runs = [process.start("infer", clips, "Who?", "-o", out, "--batch", 2, SLOW_S="0.05") for _ in range(2)]
    said = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(rows(out)) == 40 == len({json.loads(row)["id"] for row in rows(out)})
    told = [len(stdout.splitlines()) for stdout, _ in said]
    assert sum(told) == 40 and all("40/40 done" in stderr for _, stderr in said)


def test_what_a_killed_run_had_claimed_is_done_by_the_other(process, tmp_path: Path) -> None:
    clips, out = many(tmp_path / "clips", 12), tmp_path / "out"
    stuck = process.start("infer", clips, "Who?", "-o", out, "-q", "--batch", 3, SLOW_S="60")
    time.sleep(0.1)
    deadline = time.monotonic() + 240
    while not (out / ".claims").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    other = process.start("infer", clips, "Who?", "-o", out, "-q", "--batch", 3)
    wait_for(out, 1, other)
    stuck.kill()
    stuck.communicate()
    other.communicate(timeout=240)
    assert other.returncode == 0 and len(rows(out)) == 12


def test_worker_processes_that_die_cost_only_the_clip_that_kills_them(process, tmp_path: Path) -> None:
    clips, out = many(tmp_path / "clips", 12), tmp_path / "out"
    for name in ("die.mp4", "bad.mp4"):
        write_clip(clips / name, seconds=1.5 if name == "bad.mp4" else 1.25)
    code, _, err = process.run("infer", clips, "Who?", "-o", out, "--workers", 2, "--batch", 3)
    assert code == 1 and "12/14 done" in err
    errors = {row["id"]: row for row in map(json.loads, rows(out, "errors.jsonl"))}
    assert errors["die.mp4"]["error"] == "WorkerDied" and errors["bad.mp4"]["message"] == "bad.mp4 is bad"
    assert len(rows(out)) == 12


@pytest.mark.parametrize(
    ("workers", "sent"), [(1, signal.SIGTERM), (2, signal.SIGINT)], ids=["SIGTERM to one", "ctrl-c with workers"]
)
def test_an_interrupted_run_exits_130_and_goes_on(process, tmp_path: Path, sent: int, workers: int) -> None:
    clips, out = many(tmp_path / "clips", 12), tmp_path / "out"
    words = ("infer", clips, "Who?", "-o", out, "--batch", 1, "--workers", workers)
    running = process.start(*words, SLOW_S="0.3")
    wait_for(out, 2, running)
    running.send_signal(sent)
    _, err = running.communicate(timeout=240)
    assert running.returncode == 130 and err.endswith("note: run the same command again to go on\ncrab: interrupted\n")
    assert "Traceback" not in err and json.loads((out / "run.json").read_text())["state"] == "interrupted"
    kept = len(rows(out))
    code, _, err = process.run(*words)
    assert code == 0 and f"resumed {kept}/12" in err and len(rows(out)) == 12


def test_a_full_disk_stops_cleanly(process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, out = many(tmp_path / "clips", 40), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # children can write files of 5000 bytes at most
    try:
        code, _, err = process.run("infer", clips, "Who?", "-o", out, "--batch", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 5 and "crab: cannot write" in err and "what is done is kept" in err and "Traceback" not in err
    kept = rows(out)
    assert 0 < len(kept) < 40 and all(json.loads(row) for row in kept)
    code, _, err = process.run("infer", clips, "Who?", "-o", out)
    assert code == 0 and f"resumed {len(kept)}/40" in err
