"""Lines of a data file, right and wrong, and files that are large, torn or no text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crab_core.data import lines
from crab_core.data.lines import BadLine, read_samples
from crab_core.data.places import inside
from crab_core.data.sample import SampleError, read_sample
from crab_core.errors import InputError
from crab_core.types import Event, Mask

RLE = Mask.of("", 0.0, np.eye(4, dtype=bool)).to_rle()
HUGE = {"size": [9000, 9000], "counts": "PbmW]2"}  # 81 million pixels in six letters
FULL = {
    "schema": "crab.sample/1",
    "id": "a1",
    "file": "clips/a.mp4",
    "audio": "clips/a.wav",
    "split": "test",
    "tasks": ["avqa", "ref-avs"],
    "seconds": 10,
    "size": [640, 480],
    "questions": [{"question": "How many?", "answer": "two", "type": "Counting", "modality": "Audio"}],
    "events": [{"label": "dog", "start_s": 0, "end_s": 3.5, "track": "audio"}],
    "frames": [
        {
            "time_s": 1,
            "boxes": [{"label": "dog", "box": [0, 0, 10, 20]}],
            "masks": [{"file": "m.png"}],
            "classes": "c.png",
        }
    ],
    "expressions": [
        {"text": "the dog", "time_s": 1, "mask": {"rle": RLE}},
        {"text": "a cat", "time_s": 1, "mask": None},
    ],
    "captions": ["A dog barks."],
    "targets": {"ave": "..."},
}


def test_every_key_is_read():
    made = read_sample(FULL, 7)
    assert (made.id, made.line, made.size, made.seconds) == ("a1", 7, (640, 480), 10.0)
    assert made.events == (Event("dog", 0.0, 3.5, "audio"),)
    assert made.frames[0].boxes[0].time_s == 1.0 and made.frames[0].masks[0].file == "m.png"
    assert made.expressions[1].mask is None and made.expressions[0].mask.rle == RLE
    assert made.is_for("avqa") and not made.is_for("s4")


def test_absent_is_not_annotated_and_empty_is_nothing():
    assert read_sample({"file": "a.mp4"}).events is None
    assert read_sample({"file": "a.mp4", "events": []}).events == ()
    assert read_sample({"file": "a.mp4"}).is_for("s4")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file": ""}, "'file' is \"\", not a text"),
        ({"file": None}, "'file' is null, not a text"),
        ({"evnts": []}, "unknown key 'evnts', did you mean 'events'?"),
        ({"schema": "x/9"}, "schema 'x/9' is not 'crab.sample/1'"),
        ({"seconds": 0}, "'seconds' is 0, not above 0"),
        ({"seconds": True}, "'seconds' is true, not a number"),
        ({"seconds": float("nan")}, "'seconds' is NaN, not a number"),
        ({"size": [640]}, "'size' is [640], not [width, height] in pixels"),
        ({"tasks": "avqa"}, "'tasks' is \"avqa\", not a list of texts"),
        ({"questions": {}}, "'questions' is {}, not a list"),
        ({"questions": [3]}, "'questions[0]' is 3, not an object"),
        ({"questions": [{"question": "who?"}]}, "'questions[0].answer' is null, not a text"),
        ({"events": [{"label": "a", "start_s": 5, "end_s": 2}]}, "'events[0].start_s' 5 is not before its end 2"),
        ({"events": [{"label": "a", "start_s": 0, "end_s": 2, "track": "x"}]}, "'events[0].track' is \"x\""),
        ({"events": [{"label": "a", "start_s": -1, "end_s": 2}]}, "'events[0].start_s' is -1, not at least 0"),
        ({"frames": [{"time_s": 0, "boxes": [{"label": "a", "box": [5, 5, 5, 9]}]}]}, "'frames[0].boxes[0].box'"),
        ({"frames": [{"time_s": 0, "masks": [{}]}]}, "'frames[0].masks[0]' needs one of 'file' and 'rle'"),
        ({"frames": [{"time_s": 0, "masks": [{"rle": {"size": [4, 4], "counts": "1"}}]}]}, "'frames[0].masks[0].rle'"),
        ({"frames": [{"time_s": 0, "masks": [{"rle": HUGE}]}]}, "'frames[0].masks[0].rle'"),
        ({"expressions": [{"text": "a", "time_s": 0}]}, "'expressions[0].mask' is null, not a mask, or null where"),
        ({"targets": {"ave": 3}}, "'targets' is {\"ave\": 3}, not an object of texts"),
    ],
)  # fmt: skip
def test_mistakes_name_the_key_and_the_value(change, told):
    with pytest.raises(SampleError) as caught:
        read_sample({**FULL, **change})
    assert told in str(caught.value)


def test_all_mistakes_of_a_line_are_told_together():
    with pytest.raises(SampleError) as caught:
        read_sample({"file": 3, "seconds": "x", "captions": [1]})
    assert len(caught.value.mistakes) == 3


def test_bad_lines_are_told_and_the_others_read(tmp_path: Path):
    file = tmp_path / "d.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"file": "a.mp4"}\r\n\n[1]\n{"file": \n\xff\xfe\n{"file": "b.mp4"}')
    found = list(read_samples(file))
    assert [one.line for one in found] == [1, 3, 4, 5, 6]
    assert [one.file for one in found if not isinstance(one, BadLine)] == ["a.mp4", "b.mp4"]
    told = [one.mistakes[0] for one in found if isinstance(one, BadLine)]
    assert told[0] == "the line holds list, not an object" and "no JSON" in told[1] and "not UTF-8" in told[2]


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(lines, "MOST_BYTES", 100)
    file = tmp_path / "d.jsonl"
    file.write_text('{"file": "' + "x" * 1000 + '"}\n{"file": "b.mp4"}\n')
    bad, good = read_samples(file)
    assert bad.line == 1 and "longer than" in bad.mistakes[0]
    assert good.file == "b.mp4" and good.line == 2
    assert json.loads(file.read_bytes()[[f.offset for f in lines.read_objects(file) if hasattr(f, "offset")][0] :])


def test_deep_nesting_is_told(tmp_path: Path):
    file = tmp_path / "d.jsonl"
    file.write_text("[" * 200_000)
    assert "no JSON" in next(iter(read_samples(file))).mistakes[0]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.mp4", "a/../../b", "..\\a.mp4", "C:\\a.mp4", "\\\\host\\a", "a\0b"]
)
def test_paths_stay_inside_the_root(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="leads out of the data root"):
        inside(tmp_path, name)


def test_a_name_with_dots_is_a_name(tmp_path: Path):
    assert inside(tmp_path, "a/b..c.mp4") == tmp_path / "a/b..c.mp4"
