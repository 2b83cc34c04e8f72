"""Actors of a Ray cluster on this machine; left out where Ray is not installed."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fake_family import write_clip

from crab_core.batch.engine import EngineOptions, start_engine
from crab_core.batch.worker import WorkerSpec
from crab_core.errors import MissingExtra
from crab_core.progress import ignore

HAS_RAY = importlib.util.find_spec("ray") is not None
with_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'crab-av[ray]'")


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_the_extra_is_named(folder: Path) -> None:
    with pytest.raises(MissingExtra, match="--engine ray needs the package 'ray'") as caught:
        start_engine("ray", WorkerSpec(folder), EngineOptions(), ignore)
    assert caught.value.hint == "Install it with: pip install 'crab-av[ray]'"


@with_ray
@pytest.mark.slow
def test_actors_that_die_lose_nothing(process, clips: Path, tmp_path: Path) -> None:
    def rows(name: str) -> list[bytes]:
        return sorted((tmp_path / name / "results.jsonl").read_bytes().splitlines())

    assert process.run("infer", clips, "Who?", "-o", tmp_path / "local", "-q")[0] == 0
    write_clip(clips / "die.mp4", seconds=1.1)
    words = ("infer", clips, "Who?", "-o", tmp_path / "ray", "--engine", "ray", "--workers", 2, "--batch", 2)
    code, _, err = process.run(*words)
    assert code == 1, err
    assert rows("ray") == rows("local")
    (error,) = map(json.loads, (tmp_path / "ray" / "errors.jsonl").read_text().splitlines())
    assert (error["id"], error["error"]) == ("die.mp4", "WorkerDied")


@with_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there(process, clips: Path, tmp_path: Path) -> None:
    words = ("--engine", "ray", "--address", "127.0.0.1:1")
    code, _, err = process.run("infer", clips, "Who?", "-o", tmp_path / "ray", *words)
    assert code == 5 and "no Ray cluster at '127.0.0.1:1'" in err


@with_ray
@pytest.mark.slow
def test_a_damaged_model_is_told_by_the_actor(process, clips: Path, tmp_path: Path) -> None:
    (process.model / "model.safetensors").write_bytes(b"")
    code, _, err = process.run("infer", clips, "Who?", "-o", tmp_path / "ray", "--engine", "ray")
    assert code == 4 and "Traceback" not in err


def actors_of(mark: str) -> list[int]:
    """The process ids of Ray's actors whose environment holds a text that no other run has."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours
            if b"ray::Actor" in (path / "cmdline").read_bytes() and mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


@with_ray
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the actors in /proc")
@pytest.mark.parametrize("kills", [1, 2])
def test_actors_that_are_killed_from_outside_lose_nothing(process, tmp_path: Path, kills: int) -> None:
    clips = tmp_path / "many"
    clips.mkdir()
    film = write_clip(clips / "00.mp4", seconds=1).read_bytes()
    for number in range(1, 24):  # a free box of its own makes each clip's content its own
        (clips / f"{number:02}.mp4").write_bytes(film + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    assert process.run("infer", clips, "Who?", "-o", tmp_path / "local", "-q")[0] == 0
    whole = sorted((tmp_path / "local" / "results.jsonl").read_bytes().splitlines())

    out = tmp_path / "ray"
    words = ("infer", clips, "Who?", "-o", out, "--engine", "ray", "--workers", 2, "--batch", 2)
    with process.start(*words, SLOW_S="0.4") as running:
        killed: set[int] = set()
        try:
            for number in range(kills):
                wait_for_rows(out, 2 + 8 * number, running)
                victim = next(pid for pid in actors_of(str(tmp_path)) if pid not in killed)
                os.kill(victim, signal.SIGKILL)
                killed.add(victim)
            _, err = running.communicate(timeout=240)
        finally:
            running.kill()
    assert (running.returncode, len(killed)) == (0, kills), err
    assert sorted((out / "results.jsonl").read_bytes().splitlines()) == whole
    assert not (out / "errors.jsonl").exists() or (out / "errors.jsonl").read_bytes() == b""


def wait_for_rows(out: Path, count: int, running: subprocess.Popen[str]) -> None:
    """Until so many results are on disk; fails if the run ends before that, or takes minutes."""
    path, deadline = out / "results.jsonl", time.monotonic() + 240
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
