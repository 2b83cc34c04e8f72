"""`crab data convert` reads the records of the tasks that only Crab+ has; what comes out is good data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATHS = {"video_path": "v.mp4", "audio_path": "v.wav"}
OPTIONS = {
    **PATHS,
    "id": 3,
    "video_id": 9,
    "video_name": "v",
    "question_relation": "View",
    "question_type": "Happening",
    "question_text": "What barks?",
    "multi_choice": ["cat", "dog"],
    "answer": 1,
    "label": "<answer>dog</answer>",
}


@pytest.fixture
def convert(crab: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Converts one record; gives what was said and the line, which `crab data check` finds good."""

    def call(task: str, record: dict[str, object], *words: str) -> tuple[Any, dict[str, Any] | None]:
        source, out = tmp_path / "in.json", tmp_path / "out.jsonl"
        source.write_text(json.dumps([record]))
        said = crab("data", "convert", source, "--task", task, "-o", out, "--overwrite", *words)
        if said.code:
            return said, None
        checked = crab("data", "check", out, "--no-media")
        assert checked.code == 0, checked.out
        return said, json.loads(out.read_text())

    return call


@pytest.mark.parametrize(
    ("task", "record", "label", "target"),
    [
        ("emotion", {"Emotion": "joy", "label": "<answer>joy</answer>."}, "joy", "<answer>joy</answer>."),
        ("emotion", {"discrete": "worried"}, "worried", None),
        ("emotion", {"emotion": "anger"}, "anger", None),
        ("action", {"action": "playing drums", "label": "It is loud."}, "playing drums", "It is loud."),
        (
            "action",
            {"label": "Archery", "new_label": "<answer>archery</answer>"},
            "archery",
            "<answer>archery</answer>",
        ),
    ],
)
def test_a_label_is_the_truth(
    convert: Callable[..., Any], task: str, record: dict[str, object], label: str, target: str | None
) -> None:
    _, line = convert(task, {**PATHS, **record})
    assert line["labels"] == {task: label}
    assert (line["file"], line["audio"]) == ("video/v.mp4", "audio/v.wav")
    assert line.get("targets") == (None if target is None else {task: target})


@pytest.mark.parametrize("answer", [1, "1", "dog"])
def test_an_answer_is_an_option_or_its_place(convert: Callable[..., Any], answer: object) -> None:
    _, line = convert("avqa-options", {**OPTIONS, "answer": answer})
    (question,) = line["questions"]
    assert (question["answer"], question["options"], question["type"]) == ("dog", ["cat", "dog"], "Happening")
    assert question["target"] == "<answer>dog</answer>" and line["id"] == "3"


def test_an_answer_outside_the_options_is_told(convert: Callable[..., Any]) -> None:
    said, _ = convert("avqa-options", {**OPTIONS, "answer": "cow"})
    assert said.code == 3 and "the answer 'cow' is none of the options" in said.err


@pytest.mark.parametrize(("true", "number"), [("1", "1"), (2, "2"), ("two", "2")])
def test_files_are_compared(convert: Callable[..., Any], true: object, number: str) -> None:
    record = {"video1_path": "a.mp4", "video2_path": "b.mp4", "audio_path": "s.wav", "correct_video": true}
    _, line = convert("a2v", record)
    assert (line["file"], line["choices"]) == ("audio/s.wav", ["video/a.mp4", "video/b.mp4"])
    assert line["labels"] == {"a2v": number}
    record = {"audio1_path": "a.wav", "audio2_path": "b.wav", "video_path": "v.mp4", "correct_audio": true}
    _, line = convert("v2a", record, "--audio", "sounds/{audio_path}")
    assert (line["file"], line["choices"]) == ("video/v.mp4", ["sounds/a.wav", "sounds/b.wav"])


def test_a_match_that_is_none_is_told(convert: Callable[..., Any]) -> None:
    record = {"video1_path": "a.mp4", "video2_path": "b.mp4", "audio_path": "s.wav", "correct_video": "both"}
    said, _ = convert("a2v", record)
    assert said.code == 3 and "'correct_video' is 'both', not 1 or 2" in said.err


def test_dense_events_are_read_from_their_text(convert: Callable[..., Any]) -> None:
    text = "<event>dog</event>, <range>3,40</range>; <event>car</event> <range>50,61</range>."
    _, line = convert("unav", {**PATHS, "vid": "x", "label_content": text})
    assert [(one["label"], one["start_s"], one["end_s"]) for one in line["events"]] == [("dog", 3, 40), ("car", 50, 61)]
