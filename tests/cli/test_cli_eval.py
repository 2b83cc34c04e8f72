"""`crab eval` on predictions of any model, and on the fake model; every mistake in the two files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crab_core.types import Mask

SIDE = 224


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def square(x0: int, x1: int, side: int = SIDE) -> np.ndarray:
    pixels = np.zeros((side, side), dtype=bool)
    pixels[:100, x0:x1] = True
    return pixels


def rle(pixels: np.ndarray, **keys: object) -> dict:
    return {"time_s": 0, "rle": Mask.of("", 0.0, pixels).to_rle(), **keys}


def scores(said) -> dict[str, float]:
    assert said.code == 0, said.err
    rows = [line.split("\t") for line in said.out.splitlines()]
    return {row[0]: float(row[1]) for row in rows}


@pytest.fixture
def score(crab, tmp_path: Path):
    """Scores predictions on data, both given as rows."""

    def call(task: str, data: list, told: list, *words: object):
        files = write(tmp_path / "data.jsonl", *data), write(tmp_path / "told.jsonl", *told)
        return crab("eval", "--task", task, "--data", files[0], "--predictions", files[1], *words)

    return call


ASKED = {
    "file": "a.mp4",
    "questions": [
        {"question": "How many?", "answer": "two", "type": "Counting", "modality": "Audio"},
        {"question": "Where?", "answer": "left", "type": "Location", "modality": "Visual"},
    ],
}


def test_questions_are_found_by_clip_and_question(score):
    told = [
        {"id": "a.mp4", "question": "Where?", "answer": "left"},
        {"id": "a.mp4", "question": "How  many?", "text": "I hear two. So the answer is <answer> 2 </answer>.</s>"},
    ]
    found = scores(score("avqa", [ASKED], told))
    assert found["all"] == found["Audio, Counting"] == found["Visual, Location"] == 1.0
    assert found["all, published scorer"] == 1.0, "the published scorer drops the answer 2, which is not in its list"


def test_the_papers_row_stands_beside_ours(score):
    said = score("avqa", [ASKED], [{"id": "a.mp4", "question": "Where?", "answer": "left"}])
    assert "all\t0.5000\t0.5000\t0.5000\t0.7894\t2\t1\t1.0000\n" in said.out, "the last is the majority's score"
    assert "note: 1 of 2 samples have no prediction and count as nothing told" in said.err


def test_events_from_texts_of_any_model(score):
    data = [{"file": "a.mp4", "seconds": 10, "events": [{"label": "Bark", "start_s": 2, "end_s": 8}]}]
    told = [{"vid": "a.mp4", "predict": "So it is <event> Bark </event>, the range is <range> 2,7 </range>.</s>"}]
    found = scores(score("ave", data, told))
    assert found["event class"] == 1.0 and found["per-second accuracy"] == 0.9
    assert found["per-second accuracy, published scorer"] == 0.9


def test_parsing_from_a_result_of_our_own(score):
    data = [{"file": "a.mp4", "seconds": 4, "events": [{"label": "dog", "start_s": 0, "end_s": 2, "track": "audio"}]}]
    told = [{"id": "a.mp4", "task": "avvp", "events": [{"label": "dog", "start_s": 0, "end_s": 2, "track": "audio"}]}]
    other = {"id": "a.mp4", "task": "ave", "events": []}
    assert set(scores(score("avvp", data, [*told, other])).values()) == {1.0}


def test_captions(score):
    data = [
        {"file": "a.mp4", "captions": ["a dog barks at a man", "the dog barks"]},
        {"file": "b.mp4", "captions": ["a bell rings in a tower"]},
    ]
    told = [{"id": "a.mp4", "answer": "a dog barks at a man"}, {"id": "b.mp4", "text": "A bell rings in a tower."}]
    found = scores(score("avcap", data, told))
    assert found["BLEU-4"] == 1.0 and found["CIDEr-D"] > 5


@pytest.mark.parametrize("task", ["arig", "s4", "ms3", "ref-avs", "ssl"])
def test_the_true_answer_scores_one(score, task):
    sample = {
        "file": "a.png",
        "size": [SIDE, SIDE],
        "frames": [
            {
                "time_s": 0,
                "boxes": [{"label": "dog", "box": [0, 0, 50, 100]}],
                "masks": [{"rle": rle(square(0, 50))["rle"]}],
            }
        ],
        "expressions": [{"text": "the dog", "time_s": 0, "mask": {"rle": rle(square(0, 50))["rle"]}}],
    }
    told = {"id": "a.png", "boxes": [{"label": "dog", "box": [0, 0, 50, 100]}], "masks": [rle(square(0, 50))]}
    found = scores(score(task, [sample], [told]))
    assert {round(value, 6) for name, value in found.items() if name != "AUC"} == {1.0}


def test_boxes_from_text_are_read_in_the_models_picture(score):
    pytest.importorskip("crab_core.tasks.arig")
    data = [
        {
            "file": "a.png",
            "size": [448, 448],
            "frames": [{"time_s": 0, "boxes": [{"label": "dog", "box": [0, 0, 100, 100]}]}],
        }
    ]
    told = {"id": "a.png", "text": "The sounding object is dog. Its coordinates are <obj>(0,0)(50,50)</obj>."}
    assert scores(score("arig", data, [told]))["box IoU"] == 1.0


def test_probability_maps_are_swept_by_thresholds(score, tmp_path):
    truth = square(0, 50)
    np.save(tmp_path / "p.npy", np.where(truth, 0.4, 0.2).astype(np.float32))
    data = [{"file": "a.png", "frames": [{"time_s": 0, "masks": [{"rle": rle(truth)["rle"]}]}]}]
    found = scores(score("s4", data, [{"id": "a.png", "masks": [{"time_s": 0, "file": "p.npy"}]}]))
    assert found["mIoU"] == 0.0 and found["F, best of 255 per frame (Crab)"] == 1.0 and found["F at 0.5"] == 0.0


def test_pictures_are_found_by_their_time(score):
    frames = [{"time_s": time_s, "masks": [{"rle": rle(square(0, 50))["rle"]}]} for time_s in (0, 1, 2)]
    told = [rle(square(0, 50)) | {"time_s": 1.2}]
    found = scores(score("ms3", [{"file": "a.mp4", "frames": frames}], [{"id": "a.mp4", "masks": told}]))
    assert found["mIoU"] == pytest.approx(1 / 3, abs=1e-3)


def test_classes_of_a_map_and_of_masks(score, tmp_path):
    true = np.where(square(0, 50), 7, 0).astype(np.uint8)
    Image.fromarray(true).save(tmp_path / "c.png")
    data = [{"file": "a.png", "frames": [{"time_s": 0, "classes": "c.png"}]}]
    by_mask = scores(score("avss", data, [{"id": "a.png", "masks": [rle(square(0, 50), class_index=7)]}]))
    by_map = scores(score("avss", data, [{"id": "a.png", "classes": [{"file": "c.png"}]}]))
    assert by_mask == by_map and by_mask["mIoU, classes that occur"] == 1.0
    assert by_mask["mIoU, 70 classes without background"] == pytest.approx(1 / 70, abs=1e-4)
    said = score("avss", data, [{"id": "a.png", "masks": [rle(square(0, 50))]}])
    assert said.code == 2 and "has no class_index" in said.err


def test_null_expressions_have_their_own_lines_and_splits_their_own_tables(score):
    mask = {"rle": rle(square(0, 50))["rle"]}
    data = [
        {"file": "a.png", "split": "test_s", "expressions": [{"text": "the dog", "time_s": 0, "mask": mask}]},
        {"file": "b.png", "split": "test_n", "expressions": [{"text": "the cat", "time_s": 0, "mask": None}]},
    ]
    said = score(
        "ref-avs", data, [{"id": "a.png", "masks": []}, {"id": "b.png", "masks": [rle(square(0, 50))]}], "--json"
    )
    tables = json.loads(said.out)["tables"]
    assert [table["title"] for table in tables] == ["Ref-AVS test_s", "Ref-AVS test_n"]
    assert tables[0]["lines"][0]["name"] == "J" and tables[0]["lines"][0]["score"]["value"] == 0.0
    assert tables[1]["lines"][0]["score"]["value"] == pytest.approx((50 * 100 / SIDE**2) ** 0.5, abs=1e-3)
    plain = score("ref-avs", data, [{"id": "a.png", "masks": []}]).out
    assert plain.startswith("Ref-AVS test_s: J\t0.0000") and "\nRef-AVS test_n: S on null" in plain
    only = score("ref-avs", data, [{"id": "a.png", "masks": []}], "--split", "test_s", "--json")
    assert json.loads(only.out)["facts"]["samples"] == "1"


def test_json_and_latex(score, tmp_path):
    told = [{"id": "a.mp4", "question": "Where?", "answer": "left"}]
    document = json.loads(score("avqa", [ASKED], told, "--json").out)
    assert document["schema"] == "crab.scores/1" and document["tables"][0]["lines"][0]["paper"] == 0.7894
    latex = score("avqa", [ASKED], told, "--latex", "-o", tmp_path / "out").out
    assert latex.startswith("% AVQA\n\\begin{tabular}{lrrrrrr}\n\\toprule") and r"95 \% interval" in latex
    assert (tmp_path / "out/metrics.tex").read_text() == latex
    assert (tmp_path / "out/metrics.md").read_text().startswith("# avqa on data.jsonl")


@pytest.mark.parametrize(
    ("task", "data", "told", "code", "message"),
    [
        pytest.param("nope", [ASKED], [{"id": "a"}], 2, "task 'nope' has no scores", id="unknown task"),
        pytest.param("s4", [ASKED], [{"id": "a"}], 2, "has no sample for task 's4'", id="zero samples"),
        pytest.param("avqa", [], [{"id": "a"}], 2, "has no sample for task 'avqa'", id="empty data"),
        pytest.param("avqa", [ASKED], [], 3, "holds no predictions of task 'avqa'", id="no predictions"),
        pytest.param("avqa", [ASKED], [{"id": "z", "answer": "x"}], 2, "none of the 2 samples has a", id="other ids"),
        pytest.param("avqa", [ASKED], [{"answer": "x"}], 3, "line 1: no 'id' among 'answer'", id="no id"),
        pytest.param("avqa", [ASKED], ["x"], 3, "line 1: the line holds str", id="a text as a line"),
        pytest.param("avqa", [{"file": 3}], [{"id": "a"}], 2, "line 1: 'file' is 3, not a text", id="bad data line"),
        pytest.param(
            "ave",
            [{"file": "a", "seconds": 9, "events": [{"label": "x", "start_s": 0, "end_s": 2}]}],
            [{"id": "a", "events": [{"label": "x", "start_s": 3, "end_s": 1}]}],
            3,
            "line 1 is no prediction of ave: an event needs 0 <= start < end, got 3 to 1 s",
            id="an event that ends before it starts",
        ),
        pytest.param(
            "ave",
            [{"file": "a", "events": [{"label": "x", "start_s": 0, "end_s": 2}]}],
            [{"id": "a", "events": []}],
            2,
            "line 1 ('a') does not tell the clip's length",
            id="no length",
        ),
        pytest.param(
            "arig",
            [{"file": "a", "frames": [{"time_s": 0, "boxes": []}]}],
            [{"id": "a", "boxes": []}],
            2,
            "does not tell the size of its pictures",
            id="no size",
        ),
        pytest.param(
            "s4",
            [{"file": "a", "frames": [{"time_s": 0, "masks": [{"file": "../../m.png"}]}]}],
            [{"id": "a", "masks": []}],
            3,
            "the path '../../m.png' leads out of the data root",
            id="a path that escapes",
        ),
        pytest.param(
            "s4",
            [{"file": "a", "frames": [{"time_s": 0, "masks": [{"file": "m.png"}]}]}],
            [{"id": "a", "masks": []}],
            3,
            "m.png': No such file",
            id="a mask that is missing",
        ),
        pytest.param(
            "s4",
            [{"file": "a", "frames": [{"time_s": 0, "masks": []}]}],
            [{"id": "a", "text": "a dog", "model_size": []}],
            3,
            "line 1 is no prediction of s4: list index out of range",
            id="a size that is none",
        ),
        pytest.param(
            "s4",
            [{"file": "a", "frames": [{"time_s": 0, "masks": []}]}],
            [{"id": "a", "masks": [{"time_s": -1, "rle": {}}]}],
            3,
            "'time_s' is -1.0, not a time from 0 on",
            id="a time before the clip",
        ),
        pytest.param(
            "s4",
            [{"file": "a", "frames": [{"time_s": 0, "masks": []}]}],
            [{"id": "a", "masks": [{"file": "/etc/passwd"}]}],
            3,
            "the path '/etc/passwd' leads out",
            id="a predicted path that escapes",
        ),
    ],
)
def test_mistakes_are_told(score, task, data, told, code, message):
    said = score(task, data, told)
    assert (said.code, said.out) == (code, "")
    assert message in said.err


def test_mistakes_in_options_are_told_before_a_model_is_loaded(crab, tmp_path):
    data = write(tmp_path / "d.jsonl", ASKED)
    said = crab("eval", "--task", "avqa", "--data", tmp_path / "none.jsonl")
    assert said.code == 3 and "no data file at" in said.err
    both = crab("eval", "--task", "avqa", "--data", data, "--model", "mini", "--predictions", data)
    assert both.code == 2 and "--model and --predictions cannot go together" in both.err
    two = crab("eval", "--task", "avqa", "--data", data, "--json", "--latex")
    assert two.code == 2 and "--json and --latex" in two.err
    lost = crab("eval", "--task", "avqa", "--data", data, "--root", tmp_path / "none")
    assert lost.code == 3 and "no folder at" in lost.err
    file = crab("eval", "--task", "avqa", "--data", data, "-o", data)
    assert file.code == 2 and "is a file" in file.err
    absent = crab("eval", "--task", "avqa", "--data", data, "--predictions", tmp_path / "none.jsonl")
    assert absent.code == 3 and "cannot read" in absent.err


def test_a_model_is_asked_and_its_results_score_the_same_again(crab, clip, folder, tmp_path):
    rows = [ASKED | {"file": clip.name}, {**ASKED, "file": "gone.mp4"}]
    data = write(tmp_path / "d.jsonl", *rows)
    words = ("eval", "--task", "avqa", "--data", data, "--root", clip.parent)
    first = crab(*words, "--model", folder, "--device", "cpu", "-o", tmp_path / "out")
    assert first.code == 0 and "2 of 4 samples have no prediction" in first.err and "gone.mp4" in first.err
    again = crab(*words, "--predictions", tmp_path / "out/results.jsonl")
    assert again.out == first.out


@pytest.fixture
def asked_at_most(monkeypatch):
    """Lets a model answer so often and then ends everything; gives how often it was asked."""
    from crab_core.engine.session import Seen

    answer, count = Seen.answer, [0]

    def limit(most: int) -> list[int]:
        count[0] = 0

        def counted(self, *words, **keys):
            if count[0] == most:
                raise KeyboardInterrupt
            count[0] += 1
            return answer(self, *words, **keys)

        monkeypatch.setattr(Seen, "answer", counted)
        return count

    return limit


def test_a_scoring_that_was_ended_goes_on_to_the_same_scores(crab, clip, folder, tmp_path, asked_at_most):
    questions = [{"question": f"Is it {n}?", "answer": str(n)} for n in range(6)]
    data = write(tmp_path / "d.jsonl", {"file": clip.name, "questions": questions})
    words = ("eval", "--task", "avqa", "--data", data, "--root", clip.parent, "--model", folder, "--device", "cpu")
    whole = crab(*words, "-o", tmp_path / "whole")
    asked_at_most(4)
    assert crab(*words, "-o", tmp_path / "out").code == 130
    journal = tmp_path / "out" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # as a kill in the middle of writing leaves it
    count = asked_at_most(99)
    resumed = crab(*words, "-o", tmp_path / "out")
    assert resumed.code == 0 and "resumed: 3 answers" in resumed.err and count == [3]
    assert resumed.out == whole.out
    for name in ("metrics.json", "results.jsonl"):
        one, other = ((tmp_path / out / name).read_text() for out in ("whole", "out"))
        assert without_times(one) == without_times(other)
    write(tmp_path / "d.jsonl", {"file": clip.name, "questions": questions[:2]})
    count = asked_at_most(99)
    assert "resumed" not in crab(*words, "-o", tmp_path / "out").err and count == [2], "other data begins anew"


def without_times(text: str) -> str:
    return re.sub(r'"(seconds|timings_s)": (\{[^}]*\}|[\d.e-]+)', "", text)


def test_a_model_that_can_use_no_clip_is_an_error(crab, folder, tmp_path):
    data = write(tmp_path / "d.jsonl", ASKED)
    said = crab("eval", "--task", "avqa", "--data", data, "--model", folder, "--device", "cpu")
    assert said.code == 3 and "no clip could be used" in said.err
