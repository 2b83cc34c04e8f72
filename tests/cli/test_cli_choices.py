"""Choosing at the command line: options of a question, several clips in one request, and plain refusals."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_family import FakeFamily, write_clip, write_model

Crab = Callable[..., Any]


def test_options_are_part_of_the_question(family: FakeFamily, infer: Crab, clip: Path) -> None:
    said = infer(clip, "What barks?", "--task", "avqa-options", "--choice", "dog", "--choice", "cat")
    assert (said.code, said.out) == (0, "dog\n")
    assert "What barks?, options:['dog', 'cat']" in family.network.prompts[0].parts[-1].text


def test_two_videos_are_compared(family: FakeFamily, infer: Crab, clip: Path, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.mp4", 2.0)
    said = infer(clip, "--task", "a2v", "--choice", clip, "--choice", other)
    assert (said.code, said.out) == (0, "2\n")
    assert f"2 is '{other}'" in said.err
    assert len(family.network.clips[0].frames) == 5


@pytest.mark.parametrize(("task", "told"), [("emotion", "happy"), ("action", "playing drums")])
def test_a_class_is_told(infer: Crab, clip: Path, task: str, told: str) -> None:
    said = infer(clip, "--task", task)
    assert (said.code, said.out) == (0, told + "\n")


def test_a_long_clip_has_dense_events(infer: Crab, tmp_path: Path) -> None:
    said = infer(write_clip(tmp_path / "long.mp4", 24.0), "--task", "unav", "--json")
    assert said.code == 0
    document = json.loads(said.out)
    assert document["events"][0]["label"] == "dog"
    assert any("looked at in 4 windows of 10 s" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--task", "a2v"), "compares 2 files, got 0"),
        (("--task", "a2v", "--choice", "a.mp4"), "compares 2 files, got 1"),
        (("What?", "--task", "avqa-options", "--choice", "dog"), "chooses among at least 2 answers"),
        (("--task", "avcap", "--choice", "dog"), "has nothing to choose from"),
        (("--task", "ref-avs"), "--expr 'the dog on the left'"),
        (("--task", "avqa-options"), "'What is heard first?' --task avqa-options"),
        (("--task", "emotoin"), "no task is called 'emotoin'"),
        (("--task", "meld"), "That is a data set of task 'emotion'"),
        (("--task", "AVQA_THU"), "That is a data set of task 'avqa-options'"),
        (("--task", "ks"), "That is a data set of task 'action'"),
    ],
)
def test_wrong_choices_are_refused_before_loading(
    family: FakeFamily, infer: Crab, clip: Path, words: tuple[str, ...], told: str
) -> None:
    said = infer(clip, *words)
    assert said.code == 2 and told in said.err
    assert not family.loads


@pytest.mark.parametrize(
    "words", [("--task", "emotion"), ("--task", "a2v", "--choice", "a.mp4", "--choice", "b.mp4"), ("--task", "unav")]
)
def test_a_model_that_has_not_learnt_it_is_refused_before_loading(
    family: FakeFamily, crab: Crab, clip: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    folder = write_model(tmp_path / "other", tasks=["avqa"])
    said = crab("infer", clip, *words, "--model", folder)
    assert said.code == 4 and "was not trained on task" in said.err
    many = crab("infer", clip.parent, *words, "--model", folder, "-o", tmp_path / "out", "--glob", "clip.mp4")
    assert many.code == 4 and "was not trained on task" in many.err
    assert not family.loads


def test_mini_says_plainly_what_it_cannot_do(crab: Crab, clip: Path) -> None:
    said = crab("infer", clip, "--task", "a2v", "--choice", clip, "--choice", clip)
    assert said.code == 4
    assert "task 'a2v' shows several clips at once, and model 'mini' looks at one" in said.err


def test_a_table_names_the_choices(family: FakeFamily, infer: Crab, clip: Path, tmp_path: Path) -> None:
    rows = [
        {"clip": clip.name, "task": "a2v", "choices": [clip.name, clip.name]},
        {"clip": clip.name, "task": "avqa-options", "question": "What?", "choices": "dog|cat"},
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    said = infer(table, "-o", tmp_path / "out", "--json")
    assert said.code == 0, said.err
    told = {row["task"]: row["answer"]["text"] for row in map(json.loads, said.out.splitlines())}
    assert told == {"a2v": "2", "avqa-options": "dog"}
    again = infer(table, "-o", tmp_path / "out", "--json")
    assert "resumed 2/2" in again.err


@pytest.mark.parametrize(
    ("task", "other", "told", "cure"),
    [
        ("a2v", "tone.wav", "no picture in '{}', and task 'a2v' looks", "--choice VIDEO"),
        ("v2a", "mute.mp4", "no sound in '{}', and task 'v2a' listens", "--choice SOUND"),
        ("a2v", "nowhere.mp4", "'{}'", "--choice VIDEO"),
    ],
)
def test_a_file_that_cannot_be_compared_is_told_before_loading(
    family: FakeFamily, infer: Crab, clip: Path, tmp_path: Path, task: str, other: str, told: str, cure: str
) -> None:
    with wave.open(str(tmp_path / "tone.wav"), "wb") as tone:
        tone.setparams((1, 2, 16_000, 0, "NONE", ""))
        tone.writeframes(bytes(range(256)) * 125)
    write_clip(tmp_path / "mute.mp4", sound=False)
    said = infer(clip, "--task", task, "--choice", clip, "--choice", tmp_path / other)
    assert said.code == 3 and told.format(tmp_path / other) in said.err and cure in said.err, said.err
    assert not family.loads


def test_masks_that_nobody_can_draw_are_refused_before_loading(
    family: FakeFamily, crab: Crab, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = write_model(tmp_path / "plus", tasks=["s4"], profile="plus")
    for source in ((clip,), (clip.parent, "--glob", "clip.mp4", "-o", tmp_path / "out")):
        said = crab("infer", *source, "--task", "s4", "--model", folder)
        assert said.code == 4 and "SAM 2 is not on this machine" in said.err, said.err
    assert not family.loads
