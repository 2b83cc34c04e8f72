"""`crab eval` of the tasks of Crab+, with numbers counted by hand; texts that cannot be read are failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_family import FakeFamily

from crab_core.evaluate.unread import at_time, is_kept
from crab_core.types import Mask

Score = Callable[..., dict[str, float]]
SIDE = 224


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def score(crab: Callable[..., Any], tmp_path: Path) -> Score:
    """The scores by name of predictions on data, both given as rows."""

    def call(task: str, data: list[object], told: list[object]) -> dict[str, float]:
        files = write(tmp_path / "data.jsonl", *data), write(tmp_path / "told.jsonl", *told)
        said = crab("eval", "--task", task, "--data", files[0], "--predictions", files[1], "--json")
        assert said.code == 0, said.err
        document = json.loads(said.out)
        found = {line["name"]: line["score"]["value"] for table in document["tables"] for line in table["lines"]}
        return {**found, **{note: 0.0 for note in document["notes"]}}

    return call


def test_emotions_have_an_accuracy_and_a_mean_recall(score: Score) -> None:
    truths = ["joy", "joy", "joy", "anger"]
    data = [{"file": f"{n}.mp4", "labels": {"emotion": truth}} for n, truth in enumerate(truths)]
    told = [
        {"id": "0.mp4", "text": "She smiles. <answer>Joy</answer>."},
        {"id": "1.mp4", "answer": "joy"},
        {"id": "2.mp4", "text": ""},
        {"id": "3.mp4", "answer": "joy"},
    ]
    found = score("emotion", data, told)
    assert found["accuracy"] == 0.5 and found["mean recall of classes"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)


def test_matches_are_scored(score: Score) -> None:
    both = ["a.mp4", "b.mp4"]
    rows = [{"file": f"{n}.wav", "choices": both, "labels": {"a2v": str(n + 1)}} for n in range(2)]
    told = [{"id": "0.wav", "text": "<answer>one</answer>"}, {"id": "1.wav", "text": "<answer>1 or 2</answer>"}]
    assert score("a2v", rows, told)["accuracy"] == 0.5


def test_questions_with_options_are_scored_by_type(score: Score) -> None:
    asked = {"question": "What?", "answer": "dog", "options": ["dog", "cat"], "type": "Which", "modality": "Both"}
    told = [{"id": "a.mp4", "text": "<answer>dog</answer>"}]
    found = score("avqa-options", [{"file": "a.mp4", "questions": [asked]}], told)
    assert found == {"all": 1.0, "type Which": 1.0, "modality Both": 1.0, "Both, Which": 1.0}


def test_dense_events_are_scored(score: Score) -> None:
    events = [{"label": "dog", "start_s": 0, "end_s": 4}, {"label": "car", "start_s": 6, "end_s": 10}]
    told = [{"id": "a.mp4", "events": [{"label": "dog", "start_s": 0, "end_s": 4, "track": "both"}]}]
    found = score("unav", [{"file": "a.mp4", "seconds": 20, "events": events}], told)
    assert found["per-second F1"] == pytest.approx(2 * 4 / (2 * 4 + 4), abs=1e-4)
    assert found["F of events at IoU 0.5, mean over clips"] == 0.5


def test_a_text_without_a_place_is_wrong_and_the_published_protocol_stands_apart(score: Score) -> None:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[:100, :100] = True
    mask = Mask.of("", 0.0, pixels).to_rle()
    data = [
        {"file": name, "size": [SIDE, SIDE], "frames": [{"time_s": 0, "masks": [{"rle": mask}]}]}
        for name in ("read.jpg", "unread.jpg", "border.jpg")
    ]
    drawn = [{"time_s": 0, "rle": mask}]
    told = [
        {"id": "read.jpg", "raw_text": "It is a dog [0,0,100,100] [5,5]", "masks": drawn},
        {"id": "unread.jpg", "raw_text": "I see a dog.", "masks": []},
        {"id": "border.jpg", "raw_text": "It is a dog [0,0,224,224] [5,5]", "masks": drawn},
    ]
    found = score("s4", data, told)
    assert found["mIoU"] == pytest.approx(2 / 3, abs=1e-4), "the border is no failure, the unread text is one"
    assert found["mIoU, unread left out (Crab+)"] == found["F at 0.5, unread left out (Crab+)"] == 1.0
    assert "1 of 3 texts tell no place that can be read and count as wrong" in found


def test_a_model_whose_texts_all_fail_is_told_so(score: Score) -> None:
    rle = Mask.of("", 0.0, np.ones((SIDE, SIDE), bool)).to_rle()
    empty = Mask.of("", 0.0, np.zeros((SIDE, SIDE), bool)).to_rle()
    frames = [{"time_s": 0, "masks": [{"rle": rle}]}]
    data = [{"file": f"{n}.jpg", "size": [SIDE, SIDE], "frames": frames} for n in range(2)]
    told = [{"id": f"{n}.jpg", "raw_text": "I see a dog.", "masks": [{"time_s": 0, "rle": empty}]} for n in range(2)]
    found = score("s4", data, told)
    assert found["mIoU"] == 0.0 and "mIoU, unread left out (Crab+)" not in found
    assert "2 of 2 texts tell no place that can be read and count as wrong" in found
    assert any("published scorer leaves all of them out" in note for note in found)


def test_an_unread_text_is_wrong_where_there_is_nothing_too(score: Score) -> None:
    expressions = [{"id": f"e{n}", "text": f"thing {n}", "time_s": 0, "mask": None} for n in range(2)]
    pixels = np.ones((SIDE, SIDE), bool)
    everywhere = Mask.of("", 0.0, pixels).to_rle()
    meant = {"id": "e2", "text": "all", "time_s": 0, "mask": {"rle": everywhere}}
    told = [
        {"id": "e0", "raw_text": "<answer>false</answer>", "masks": []},
        {"id": "e1", "raw_text": "who knows", "masks": []},
        {"id": "e2", "raw_text": "<answer>true</answer> [0,0,9,9]", "masks": [{"time_s": 0, "rle": everywhere}]},
    ]
    found = score("ref-avs", [{"file": "a.mp4", "expressions": [*expressions, meant]}], told)
    assert found["S on null, root of told / all (Crab), lower is better"] == 0.5
    assert found["J, unread left out (Crab+)"] == 1.0


@pytest.mark.parametrize(
    ("task", "text", "kept"),
    [
        ("s4", "[1,2,30,40] [5,5]", True),
        ("s4", "[1,2,30,40]", False),
        ("s4", "[1,2],[3,4],[5,6]", True),
        ("s4", "[1,2],[3,4]", False),
        ("s4", "[1,2,224,40] [5,5]", False),
        ("s4", "[30,2,1,40] [5,5]", False),
        ("s4", "nothing </s> [1,2,30,40] [5,5]", False),
        ("ref-avs", "[1,2,30,40]", False),
        ("ref-avs", "<answer>true</answer> [1,2]", True),
        ("ref-avs", "<answer>true</answer>", False),
        ("ref-avs", "<answer>false</answer> [300,2]", True),
    ],
)
def test_what_the_published_scorer_keeps(task: str, text: str, kept: bool) -> None:
    assert is_kept(task, text) == kept


def test_a_text_of_several_seconds_is_read_at_its_second() -> None:
    text = "[0 s] a dog\n[2.5 s] a cat\nand more\n[5 s] none"
    assert at_time(text, 2.4) == "a cat\nand more" and at_time(text, 9.0) == "none" and at_time("plain", 3.0) == "plain"


def test_a_model_is_asked_with_its_choices(
    crab: Callable[..., Any], family: FakeFamily, folder: Path, clip: Path, tmp_path: Path
) -> None:
    asked = {"question": "What?", "answer": "dog", "options": ["dog", "cat"]}
    rows = [{"file": clip.name, "choices": [clip.name] * 2, "labels": {"a2v": "2"}, "questions": [asked]}]
    data = write(tmp_path / "data.jsonl", *rows)
    for task in ("a2v", "avqa-options"):
        said = crab("eval", "--task", task, "--data", data, "--model", folder)
        assert said.code == 0 and "\t1.0000\t" in said.out, said.err
    assert len(family.network.clips[0].frames) == 6, "both files are shown"
    assert "options:['dog', 'cat']" in family.network.prompts[1].parts[-1].text
    checked = crab("data", "check", data)
    assert checked.code == 0, checked.out


def test_a_missing_choice_is_a_problem_of_the_data(crab: Callable[..., Any], clip: Path, tmp_path: Path) -> None:
    row = {"file": clip.name, "choices": [clip.name, "gone.mp4"], "labels": {"a2v": "2"}}
    checked = crab("data", "check", write(tmp_path / "data.jsonl", row))
    assert checked.code == 1 and "there is no file 'gone.mp4'" in checked.out
