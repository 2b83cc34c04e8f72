"""Generated clips pass `crab data check` and work in `crab eval`: the truth, told as a prediction, is all right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crab_core.data.lines import read_samples
from crab_core.data.sample import Sample


@pytest.fixture
def made(crab, tmp_path: Path) -> Path:
    """Two generated clips, with the path of their labels."""
    said = crab("data", "synth", "-o", tmp_path / "clips", "--clips", 2, "--split", "test", "--size", 64, "--fps", 2)
    assert said.code == 0, said.err
    return tmp_path / "clips" / "labels.jsonl"


def oracle(sample: Sample, row: dict):
    """The truth of a row as predictions: structures for what is seen, the row's own texts for the rest."""
    yield from ({"task": "avqa", "question": one.question, "text": one.target} for one in sample.questions)
    yield from ({"task": task, "text": row[task]} for task in ("ave", "avvp"))
    yield {"task": "avcap", "text": row["caption"]}
    frames = sample.frames
    boxes = [
        {"label": box.label, "box": [box.x0, box.y0, box.x1, box.y1], "time_s": box.time_s}
        for frame in frames
        for box in frame.boxes
    ]
    masks = [{"rle": mask.rle, "time_s": frame.time_s} for frame in frames for mask in frame.masks]
    yield from ({"task": task, "boxes": boxes, "masks": masks} for task in ("arig", "ssl", "s4", "ms3"))
    for one in sample.expressions:
        told = [{"rle": one.mask.rle}] if one.mask else []
        yield {"task": "ref-avs", "question": one.text, "time_s": one.time_s, "masks": told}


def test_generated_clips_are_found_well(crab, made):
    said = crab("data", "check", made, "--labels", "world", "--probe")
    assert (said.code, said.out) == (0, "")
    assert "2 of 2 lines are samples" in said.err and "20 frames, 20 expressions" in said.err


def test_the_truth_scores_one_in_every_task(crab, made, tmp_path):
    told = tmp_path / "told.jsonl"
    rows = [json.loads(line) for line in made.read_text().splitlines()]
    with told.open("w") as lines:
        for sample, row in zip(read_samples(made), rows, strict=True):
            lines.writelines(json.dumps({"id": sample.id, **one}) + "\n" for one in oracle(sample, row))
    tasks = ["avqa", "avvp", "avcap", "arig", "ssl", "s4", "ms3", "ref-avs"]
    tasks += ["ave"] if any(row["kind"] == "ave" for row in rows) else []
    for task in tasks:
        said = crab("eval", "--task", task, "--data", made, "--predictions", told)
        assert said.code == 0, said.err
        scores = {line.split("\t")[0]: float(line.split("\t")[1]) for line in said.out.splitlines()}
        kept = {name: value for name, value in scores.items() if not name.startswith(("S on", "F, best", "CIDEr"))}
        assert set(kept.values()) == {1.0}, task
        assert {value for name, value in scores.items() if name.startswith("S on")} <= {0.0}


def test_a_row_that_was_damaged_is_told(crab, made):
    row = json.loads(made.read_text().splitlines()[0])
    del row["heard"]
    made.write_text(json.dumps(row) + "\n")
    said = crab("data", "check", made)
    assert said.code == 1 and "1\tline\tthe generated row was damaged: KeyError 'heard'" in said.out


def test_the_papers_numbers_do_not_stand_beside_generated_clips(crab, made, tmp_path):
    told = tmp_path / "told.jsonl"
    rows = [json.loads(line) for line in made.read_text().splitlines()]
    told.write_text(json.dumps({"id": "00000.mp4", "question": rows[0]["qa"][0]["question"], "answer": "y"}) + "\n")
    said = crab("eval", "--task", "avqa", "--data", made, "--predictions", told, "--json")
    assert {line["paper"] for line in json.loads(said.out)["tables"][0]["lines"]} == {None}
