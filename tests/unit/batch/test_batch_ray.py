"""Actors of a Ray cluster on this machine; left out where Ray is not installed."""

from __future__ import annotations

import importlib.util
import json
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
