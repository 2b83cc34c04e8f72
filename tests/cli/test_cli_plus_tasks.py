"""The tasks of Crab+ at the command line with a tiny random model of its family, and with a tiny random SAM 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_family import write_clip
from tiny_plus import RANDOM, write_plus
from tiny_sam2 import write_sam2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, a SAM 2, a clip and another one of another length."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "model": write_plus(folder / "model"),
        "sam2": write_sam2(folder / "sam2"),
        "clip": write_clip(folder / "clip.mp4"),
        "other": write_clip(folder / "other.mp4", 2.0),
    }


@pytest.mark.parametrize(
    "words",
    [
        ("--task", "emotion"),
        ("--task", "action"),
        ("--task", "unav"),
        ("What is heard?", "--task", "avqa-options", "--choice", "dog", "--choice", "cat"),
        ("--task", "a2v", "--choice", "CLIP", "--choice", "OTHER"),
        ("--task", "v2a", "--choice", "CLIP", "--choice", "OTHER"),
    ],
)
def test_a_task_of_crab_plus_runs(crab: Callable[..., Any], files: dict[str, Path], words: tuple[str, ...]) -> None:
    given = [str(files[word.lower()]) if word in ("CLIP", "OTHER") else word for word in words]
    said = crab("infer", files["clip"], *given, "--model", files["model"], "--json", "--max-new-tokens", "4")
    assert said.code == 0, said.err
    document = json.loads(said.out)
    assert document["task"] == words[words.index("--task") + 1] and document["raw_text"].strip()
    assert document["answer"] is not None


def test_many_clips_are_told_once_that_the_weights_are_random(
    crab: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    words = ("infer", files["clip"].parent, "--glob", "*.mp4", "--task", "emotion", "--model", files["model"])
    said = crab(*words, "--max-new-tokens", "2", "-o", tmp_path / "out")
    assert said.code == 0 and said.err.count(RANDOM) == 1, said.err


def test_masks_of_crab_plus_are_drawn_by_sam2(crab: Callable[..., Any], files: dict[str, Path]) -> None:
    words = ("segment", files["clip"], "--at", "1", "--model", files["model"], "--max-new-tokens", "4")
    said = crab(*words, "--sam2", files["sam2"], "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["masks"][0]["rle"]["size"] == [24, 32]
    refused = crab(*words, "--masks", "own")
    assert refused.code == 4 and "draws no masks of its own" in refused.err


def test_heads_of_a_mask_task_need_no_sam2(crab: Callable[..., Any], files: dict[str, Path], tmp_path: Path) -> None:
    words = ("visualize-heads", files["clip"], "--task", "s4", "--model", files["model"], "--max-new-tokens", "4")
    said = crab(*words, "-o", tmp_path / "heads")
    assert said.code == 0, said.err
