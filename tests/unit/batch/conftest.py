"""Small clips, the fake family, and the command as a process with a slow fake family."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_family import clip, family, folder, write_clip, write_model

__all__ = ["clip", "family", "folder"]

TESTS = Path(__file__).parent.parent.parent
SITE = """
import sys
sys.path.insert(0, {here!r})
from crab_core import registry
registry.FAMILIES["slow"] = registry.Entry("batch_slow_family:FAMILY", "a fake that takes its time")
"""


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of six clips of different content, two of them one folder down."""
    top = tmp_path / "clips"
    (top / "more").mkdir(parents=True)
    for number, name in enumerate(["a.mp4", "b.mp4", "c.mp4", "d.mp4", "more/a.mp4", "more/e.mp4"]):
        write_clip(top / name, seconds=1 + number / 4)
    return top


@dataclass(frozen=True)
class Process:
    """Starts `crab` in a process that knows the slow family."""

    model: Path
    env: dict[str, str]

    def start(self, *words: object, **env: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "crab_cli", *map(str, words), "-m", str(self.model), "--device", "cpu"]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**self.env, **env}
        )

    def run(self, *words: object, **env: str) -> tuple[int, str, str]:
        with self.start(*words, **env) as running:
            try:
                out, err = running.communicate(timeout=240)
            finally:
                running.kill()
        return running.returncode, out, err


@pytest.fixture
def process(tmp_path: Path) -> Process:
    """`crab infer` as a real process; SLOW_S says how long the fake takes for a clip."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(here=str(TESTS / "unit" / "batch")))
    path = os.pathsep.join([str(site), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return Process(write_model(tmp_path / "slow", name="slow", family="slow"), {**os.environ, "PYTHONPATH": path})
