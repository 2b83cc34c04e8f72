"""The note about pictures unlike the training's, where a user sees it: stderr, JSON, rows of a batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from crab_core.engine.notes import STRANGE
from crab_core.media import write_video

CLIP = Path(__file__).parents[2] / "examples/clips/00000.mp4"
NOTE = STRANGE["video"]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "clips" / "noise.mp4"
    path.parent.mkdir()
    grains = np.random.default_rng(0).integers(0, 256, (4, 96, 96, 3), np.uint8)
    write_video(path, grains, 2, np.zeros(32_000, np.float32), preset="ultrafast")
    return path


def test_one_clip_tells_it_on_stderr_and_in_json(crab, noise: Path) -> None:
    words = ["What is heard?", "--json", "--no-reasoning", "--max-new-tokens", "4", "--device", "cpu"]
    said = crab("infer", noise, *words)
    assert said.code == 0 and f"note: {NOTE}\n" in said.err
    notes = json.loads(said.out)["notes"]
    assert notes.count(NOTE) == 1 and sum("generated clips" in note for note in notes) == 1
    said = crab("infer", CLIP, *words)
    assert said.code == 0 and NOTE not in said.err and NOTE not in json.loads(said.out)["notes"]


def test_a_batch_counts_it_and_its_rows_tell_it(crab, noise: Path, tmp_path: Path) -> None:
    shutil.copy(CLIP, noise.parent)
    words = ["What is heard?", "--no-reasoning", "--max-new-tokens", "4", "--device", "cpu"]
    said = crab("infer", noise.parent, *words, "-o", tmp_path / "out")
    assert said.code == 0 and said.err.count("note: pictures unlike those of the training in 1 results") == 1
    rows = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows if NOTE in json.dumps(row)] == ["noise.mp4"]
