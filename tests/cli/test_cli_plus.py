"""Every command with the tiny random Crab+ on shipped clips: right shapes, and the note that its weights are random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_plus import RANDOM, write_plus
from tiny_sam2 import write_sam2

from crab_core.families.plus_import import TASKS as LEARNT
from crab_core.registry import TASKS

MASKED = ("s4", "ms3", "ref-avs")
FEW = ("--max-new-tokens", "4", "--json")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plus(tmp_path_factory.mktemp("plus") / "model")


@pytest.fixture
def shipped(repo: Path) -> Path:
    return repo / "examples" / "clips" / "00001.mp4"


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("weights") / "tiny-sam2")


@pytest.mark.parametrize("task", [task for task in LEARNT if task not in MASKED])
def test_every_task_that_it_learnt(crab, model, shipped, task):
    known = TASKS[task].load()
    words: list[object] = ["What is heard first?"] if known.needs_question else []
    choices = ("dog", "cat") if known.chooses == "text" else (shipped, shipped) if known.chooses else ()
    words += [word for choice in choices for word in ("--choice", choice)]
    said = crab("infer", shipped, *words, "--task", task, "--model", model, *FEW)
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert (result["model"], result["task"]) == ("tiny-plus", task)
    assert RANDOM in result["notes"] and result["raw_text"]
    assert not any("not trained" in note for note in result["notes"])


@pytest.mark.parametrize("task", MASKED)
def test_masks_of_every_task_that_tells_places(crab, model, sam2, shipped, task):
    words = ["--expr", "the dog"] if task == "ref-avs" else ["--task", task]
    said = crab("segment", shipped, *words, "--at", "1", "--model", model, "--sam2", sam2, *FEW)
    assert said.code == 0, said.err
    result = json.loads(said.out)
    assert result["task"] == task and RANDOM in result["notes"] and len(result["masks"]) == 1


def test_events_are_localized(crab, model, shipped):
    said = crab("localize", shipped, "--model", model, *FEW)
    assert said.code == 0, said.err
    assert RANDOM in said.out


def test_heads_are_shown(crab, model, shipped, tmp_path):
    words = ["What is heard first?", "--model", model, "--max-new-tokens", "4", "-o", tmp_path / "heads"]
    said = crab("visualize-heads", shipped, *words)
    assert said.code == 0, said.err
    page = next((tmp_path / "heads").glob("**/*.html")).read_text()
    assert page.count("data:image") > 3 and RANDOM in page


def test_semantic_masks_are_refused_with_a_way_out(crab, model, shipped):
    said = crab("segment", shipped, "--semantic", "--model", model)
    assert (
        said.code == 4
        and "'avss'" in said.err
        and "Ask what sounds: crab segment CLIP, or choose another --model." in said.err
    )


def test_a_packed_folder_answers_from_the_command_line(crab, model, shipped, tmp_path):
    assert crab("models", "quantize", model, "-o", tmp_path / "packed", "-q").code == 0
    question = "What is heard first?"
    said = [
        crab("infer", shipped, question, "--model", one, *more, *FEW)
        for one, more in ((tmp_path / "packed", ()), (model, ("--quantize", "4bit")))
    ]
    assert [one.code for one in said] == [0, 0], said[0].err
    texts = [json.loads(one.out)["raw_text"] for one in said]
    assert texts[0] == texts[1]


def test_what_will_not_fit_is_told_before_loading(crab, model, shipped):
    said = crab("infer", shipped, "What?", "--model", model, "--max-memory", "1MiB")
    assert said.code == 5 and "weights" in said.err
