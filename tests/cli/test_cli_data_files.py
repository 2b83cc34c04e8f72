"""`crab data check` finds every kind of mistake and nothing in good files; `crab data convert` reads AV-UIE records."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crab_core.types import Mask


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def rle(pixels: np.ndarray) -> dict:
    return {"rle": Mask.of("", 0.0, pixels).to_rle()}


@pytest.fixture
def check(crab, clip, tmp_path: Path):
    """Checks rows whose media may be `clip.mp4` and `m.png`, a mask of 4 x 3 pixels."""
    Image.fromarray(np.full((3, 4), 255, dtype=np.uint8)).save(clip.parent / "m.png")
    Image.fromarray(np.zeros((3, 4), dtype=np.uint8)).save(clip.parent / "empty.png")
    Image.fromarray(np.full((3, 4), 99, dtype=np.uint8)).save(clip.parent / "99.png")
    Image.new("RGB", (4, 3), (1, 2, 3)).save(clip.parent / "rgb.png")
    (clip.parent / "bad.mp4").write_bytes(b"no clip")

    def call(*rows: object, words: tuple = ()):
        return crab("data", "check", write(tmp_path / "d.jsonl", *rows), "--root", clip.parent, *words)

    return call


DOG = {"label": "dog", "box": [0, 0, 4, 3]}
GOOD = {"file": "clip.mp4", "captions": ["a dog"]}


def test_a_good_file_is_passed_in_silence(check):
    frame = {"time_s": 1, "boxes": [DOG], "masks": [{"file": "m.png"}]}
    said = check({**GOOD, "size": [4, 3], "frames": [frame], "events": []})
    assert (said.code, said.out) == (0, "")
    assert "1 of 1 lines are samples, with 1 frames, 1 captions" in said.err


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        pytest.param(["{"], "1\tline\tthe line is no JSON", id="malformed"),
        pytest.param([GOOD, "", "[]"], "3\tline\tthe line holds list, not an object", id="no object"),
        pytest.param([{"file": "clip.mp4"}], "1\tline\tnothing is annotated", id="nothing annotated"),
        pytest.param([{**GOOD, "size": 3}], "1\tline\t'size' is 3, not [width, height]", id="wrong type"),
        pytest.param([GOOD, GOOD], "2\tid\tthe id 'clip.mp4' is that of line 1 too", id="id twice"),
        pytest.param([{**GOOD, "file": "x.mp4"}], "1\tmedia\tthere is no file 'x.mp4'", id="missing clip"),
        pytest.param([{**GOOD, "audio": "x.wav"}], "1\tmedia\tthere is no file 'x.wav'", id="missing sound"),
        pytest.param([{**GOOD, "file": "."}], "1\tmedia\t'.' is no file", id="a folder"),
        pytest.param([{**GOOD, "file": "/etc/passwd"}], "1\tpath\tthe path '/etc/passwd' leads out", id="absolute"),
        pytest.param([{**GOOD, "audio": "../a.wav"}], "1\tpath\tthe path '../a.wav' leads out", id="dots"),
        pytest.param(
            [{**GOOD, "seconds": 2, "events": [{"label": "dog", "start_s": 0, "end_s": 3}]}],
            "1\ttime\tthe event 'dog' ends at 3 s, beyond the clip's 2 s",
            id="event beyond the told length",
        ),
        pytest.param(
            [{**GOOD, "events": [{"label": "dog", "start_s": 0, "end_s": 99}]}],
            "1\ttime\tthe event 'dog' ends at 99 s, beyond the clip's",
            id="event beyond the true length",
        ),
        pytest.param(
            [{**GOOD, "seconds": 3, "frames": [{"time_s": 7}]}],
            "1\ttime\ta frame is at 7 s, beyond the clip's 3 s",
            id="frame beyond the clip",
        ),
        pytest.param(
            [{**GOOD, "file": "bad.mp4", "frames": [{"time_s": 0}]}], "1\tmedia\t", id="a clip that is none"
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "masks": [{"file": "empty.png"}]}]}],
            "1\tmask\tthe mask of frame 0 is empty",
            id="empty mask in a file",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "expressions": [{"text": "a", "time_s": 0, "mask": rle(np.zeros((3, 4), bool))}]}],
            "1\tmask\tthe mask of 'a' is empty",
            id="empty mask as run lengths",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "size": [8, 8], "frames": [{"time_s": 0, "masks": [{"file": "m.png"}]}]}],
            "1\tmask\tthe mask of frame 0 has 4 x 3 pixels, the frame 8 x 8",
            id="mask of another size",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "masks": [{"file": "x.png"}]}]}],
            "1\tmedia\tcannot read",
            id="missing mask",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "masks": [{"file": "../x.png"}]}]}],
            "1\tpath\tthe path '../x.png' leads out",
            id="mask out of the root",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "classes": "empty.png"}]}],
            "1\tmask\tthe map 'empty.png' is all background",
            id="map of background",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "classes": "99.png"}]}],
            "1\tlabel\tthe map '99.png' has class '99', beyond the 70",
            id="map with an unknown class",
        ),
        pytest.param(
            [{**GOOD, "seconds": 9, "frames": [{"time_s": 0, "classes": "rgb.png"}]}],
            "has the colour (1, 2, 3), which is none",
            id="map in colours",
        ),
        pytest.param(
            [{**GOOD, "size": [4, 3], "frames": [{"time_s": 0, "boxes": [{**DOG, "box": [0, 0, 5, 3]}]}]}],
            "1\tbox\tthe box 0,0 to 5,3 of 'dog' is not within the frame's 4 x 3",
            id="box outside the frame",
        ),
        pytest.param(
            [{**GOOD, "split": "train"}, {**GOOD, "id": "b", "split": "test"}],
            "2\tleak\t'clip.mp4' of split 'test' is in split 'train' too, line 1",
            id="a clip in two splits",
        ),
    ],
)  # fmt: skip
def test_each_mistake_has_its_line(check, rows, told):
    said = check(*rows)
    assert said.code == 1
    assert told in said.out and "1 problems: " in said.err


def test_the_same_clip_under_another_name_is_a_leak(check, clip):
    (clip.parent / "copy.mp4").write_bytes(clip.read_bytes())
    said = check({**GOOD, "split": "train"}, {**GOOD, "file": "copy.mp4", "split": "test"})
    assert "2\tleak\t'copy.mp4' of split 'test' has the content of a file in split 'train' too, line 1" in said.out


def test_files_without_splits_are_splits(crab, clip, tmp_path):
    files = write(tmp_path / "train.jsonl", GOOD), write(tmp_path / "test.jsonl", GOOD)
    said = crab("data", "check", *files, "--root", clip.parent)
    assert said.code == 1
    assert f"{files[1]}:1\tleak\t'clip.mp4' of split 'test' is in split 'train' too, line 1 of '{files[0]}'" in said.out


def test_labels_are_compared_with_those_known(check, tmp_path):
    row = {**GOOD, "seconds": 9, "events": [{"label": "Violin_Fiddle", "start_s": 0, "end_s": 2}]}
    assert check(row, words=("--labels", "llp")).code == 0
    said = check(row, words=("--labels", "world"))
    assert said.code == 1 and "1\tlabel\tthe label 'Violin_Fiddle' is none of the" in said.out
    own = tmp_path / "labels.txt"
    own.write_text("violin fiddle\n")
    assert check(row, words=("--labels", own)).code == 0
    own.write_text("\n")
    assert "holds no label" in check(row, words=("--labels", own)).err
    assert "no labels at 'nope'" in check(row, words=("--labels", "nope")).err


def test_a_wrong_length_is_found_by_opening_the_clip(check):
    assert check({**GOOD, "seconds": 77}).code == 0
    said = check({**GOOD, "seconds": 77}, words=("--probe",))
    assert said.code == 1 and "'seconds' is 77, but 'clip.mp4' lasts" in said.out


def test_without_media_only_the_file_is_read(check):
    assert check({**GOOD, "file": "x.mp4"}, words=("--no-media",)).code == 0
    assert check({**GOOD, "file": "../x.mp4"}, words=("--no-media",)).code == 1


def test_json_and_the_limit(check):
    said = check("{", "{", "{", words=("--limit", "2", "--json"))
    document = json.loads(said.out)
    assert said.code == 1 and document["kinds"] == {"line": 3}
    assert [one["line"] for one in document["problems"]] == [1, 2] and "1 more problems" in said.err
    assert len(check("{", "{", "{", words=("--limit", "0")).out.splitlines()) == 3


def test_files_that_are_none_are_input_errors(crab, tmp_path):
    assert "holds no samples" in crab("data", "check", write(tmp_path / "d.jsonl")).err
    for path in (tmp_path / "none.jsonl", tmp_path):
        said = crab("data", "check", path)
        assert said.code == 3 and "cannot read" in said.err
    said = crab("data", "check", tmp_path / "d.jsonl", "--root", tmp_path / "none")
    assert said.code == 3 and "no folder at" in said.err


def test_a_large_file_is_read_in_bounded_memory(crab, tmp_path):
    row = {"file": "a.mp4", "captions": ["a dog barks at a man in a park " * 100]}
    file = tmp_path / "d.jsonl"
    with file.open("w") as lines:
        for number in range(4_000):
            lines.write(json.dumps({**row, "id": str(number)}) + "\n")
    tracemalloc.start()
    try:
        assert crab("data", "check", file, "--no-media").code == 0
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.stat().st_size > 12e6 > 3 * held


@pytest.fixture
def convert(crab, tmp_path: Path):
    """Converts records, given as a JSON array; gives what was said and the lines."""

    def call(task: str, *records: object, words: tuple = ()):
        source, out = tmp_path / "in.json", tmp_path / "out.jsonl"
        source.write_text(json.dumps(records, indent=1))
        said = crab("data", "convert", source, "--task", task, "-o", out, *words)
        return said, [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []

    return call


AVQA = {"video_id": "v", "question_id": 7, "type": ["Audio-Visual", "Temporal"], "video_path": "v/v.mp4",
        "audio_path": "a/v.mp3", "question": "Which first?", "answer": "violin"}  # fmt: skip
AVE = {"event": "Bark", "vid": "x1", "start_time": 2, "end_time": 8}
AVVP = {"filename": "f", "vid": "x1", "event": "<visual>Dog,(0 3)</visual> and <audio>Dog,(1 4),(6 9)</audio>"}
S4 = {"vid": "v", "uid": "u", "s_min": 0, "s_sec": 0, "a_obj": "dog", "split": "test", "label": "v1s"}
ARIG = {"split": "test", "audio_path": "u/audio.wav", "frame_path": "u/frames/3.jpg", "mask_path": "u/m.png",
        "top_left": [3, 9], "bottom_right": [40, 60], "a_obj": "dog"}  # fmt: skip


def test_questions(convert):
    said, (line,) = convert("avqa", AVQA, words=("--split", "test"))
    assert said.code == 0 and said.out.strip().endswith("out.jsonl")
    assert line["questions"] == [
        {"question": "Which first?", "answer": "violin", "type": "Temporal", "modality": "Audio-Visual"}
    ]
    assert (line["id"], line["file"], line["audio"], line["split"]) == ("7", "v/v.mp4", "a/v.mp3", "test")


def test_questions_of_the_second_release_need_a_pattern(convert):
    record = {key: value for key, value in AVQA.items() if "path" not in key} | {"label": "<answer> violin </answer>"}
    said, _ = convert("avqa", record)
    assert said.code == 3 and "the record has no 'video_path', only 'video_id'" in said.err
    said, (line,) = convert("avqa", record, words=("--video", "video/{video_id}.mp4"))
    assert line["file"] == "video/v.mp4" and line["questions"][0]["target"] == "<answer> violin </answer>"


def test_events(convert):
    _, (line,) = convert("ave", {**AVE, "label_content": "It barks."})
    assert line["events"] == [{"label": "Bark", "start_s": 2.0, "end_s": 8.0, "track": "both"}]
    assert (line["file"], line["seconds"], line["targets"]) == ("AVE/x1.mp4", 10, {"ave": "It barks."})
    _, (line,) = convert("avvp", AVVP, words=("--overwrite",))
    assert [(e["track"], e["start_s"], e["end_s"]) for e in line["events"]] == [
        ("visual", 0, 3), ("audio", 1, 4), ("audio", 6, 9)
    ]  # fmt: skip


def test_captions(convert):
    _, (line,) = convert("avcap", {"video_id": "v", "desc": "A dog."})
    assert line["captions"] == ["A dog."] and line["file"] == "video_data/v.mp4"


def test_boxes(convert):
    silent = {**ARIG, "top_left": [1000, 0], "bottom_right": [1000, 0], "frame_path": "u/frames/4.jpg"}
    _, lines = convert("arig", ARIG, silent)
    assert lines[0]["frames"] == [{"time_s": 3, "boxes": [{"label": "dog", "box": [3, 9, 40, 60]}]}]
    assert lines[1]["frames"] == [{"time_s": 4, "boxes": []}] and lines[0]["size"] == [224, 224]
    text = "The sounding object is dog. Its coordinate of top left corner is (3,9) "
    text += "and coordinate of bottom right corner is (40,60)"
    plus = {"image_path": "u/frames/3.jpg", "audio_path": "u/a.wav", "a_obj": "dog", "label_content": text}
    _, (line,) = convert("arig", plus, words=("--overwrite",))
    assert line["frames"] == lines[0]["frames"] and line["targets"] == {"arig": text}


def test_masks_are_a_line_a_picture(convert):
    _, lines = convert("s4", S4, {**S4, "split": "train"})
    assert len(lines) == 5 + 1, "a training video of S4 has only its first picture annotated"
    assert lines[4]["file"] == "v1s/u/frames/4.jpg" and lines[4]["audio"] == "v1s/u/audio.wav"
    assert lines[4]["frames"] == [{"time_s": 4, "masks": [{"label": "dog", "file": "v1s/u/labels_semantic/4.png"}]}]
    plus = {
        "visual_path": "v/frames/2.jpg",
        "audio_path": "v/a.wav",
        "vid": "v",
        "uid": "u",
        "a_obj": "dog",
        "frame_idx": 2,
    }
    _, (line,) = convert("ms3", plus, words=("--overwrite",))
    assert line["frames"][0]["masks"][0]["file"] == "v/labels_rgb/2.png" and line["frames"][0]["time_s"] == 2
    _, lines = convert("avss", {**S4, "label": "v2"}, words=("--overwrite", "--mask", "maps/{uid}_{i}.png"))
    assert len(lines) == 10 and lines[9]["frames"][0]["classes"] == "maps/u_9.png"


def test_expressions(crab, convert, tmp_path):
    table = tmp_path / "metadata.csv"
    table.write_text('vid,uid,split,fid,exp\nx,a_b_1_0,test_s,2,"the dog, left"\nx,a_b_2_0,test_n,0,the cat\n')
    out = tmp_path / "ref.jsonl"
    assert crab("data", "convert", table, "--task", "ref-avs", "-o", out).code == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 20 and lines[3]["file"] == "media/a_b/frames/3.jpg"
    assert lines[3]["expressions"] == [
        {"text": "the dog, left", "time_s": 3, "mask": {"file": "gt_mask/a_b/fid_2/00003.png"}}
    ]
    assert lines[13]["expressions"][0]["mask"] is None and lines[13]["split"] == "test_n"
    plus = {"visual_path": "media/v/frames/3.jpg", "audio_path": "media/v/audio.wav", "vid": "v", "fid": 2, "uid": "q",
            "frame_idx": 3, "object": "the dog", "split": "test_u"}  # fmt: skip
    _, (line,) = convert("ref-avs", plus)
    assert line["expressions"][0]["mask"] == {"file": "gt_mask/v/fid_2/00003.png"}


def test_what_is_converted_scores_itself(crab, convert, tmp_path):
    convert("ave", AVE)
    told = write(tmp_path / "told.jsonl", {"vid": "x1", "text": "<event> Bark </event> <range> 2,8 </range>"})
    said = crab("eval", "--task", "ave", "--data", tmp_path / "out.jsonl", "--predictions", told)
    assert said.code == 0 and "per-second accuracy\t1.0000" in said.out


@pytest.mark.parametrize(
    ("task", "record", "told"),
    [
        ("ave", {"vid": "x"}, "the record has no 'start_time', only 'vid'"),
        ("ave", {**AVE, "start_time": 8}, "'events[0].start_s' 8 is not before its end 8"),
        ("ave", {**AVE, "end_time": "late"}, "could not convert string to float: 'late'"),
        ("ave", {**AVE, "event": 3}, "'events[0].label' is 3, not a text"),
        ("ave", {**AVE, "vid": "../../x"}, "the path 'AVE/../../x.mp4' leads out of the data root"),
        ("avqa", {**AVQA, "video_path": "/group/v.mp4"}, "'/group/v.mp4' leads out of the data root; take its front"),
        ("avvp", {**AVVP, "event": "Dog"}, "no event can be read from 'Dog'"),
        ("arig", {**ARIG, "top_left": [3]}, "'[3]' is no corner of two numbers"),
        ("arig", {**ARIG, "top_left": [50, 70]}, "not [x0, y0, x1, y1] with x0 < x1"),
        ("ave", 3, "the item is int, not an object"),
    ],
)
def test_a_bad_record_is_told_with_its_line_and_the_others_are_written(convert, task, record, told):
    good = {"ave": AVE, "avqa": AVQA, "avvp": AVVP, "arig": ARIG}[task]
    said, lines = convert(task, good, record)
    assert said.code == 1 and len(lines) == 1
    assert told in said.err and "1 of 2 records could not be converted" in said.err
    begins = 2 + len(json.dumps([good], indent=1).splitlines()) - 2  # the array's bracket, then the first record
    assert f"line {begins}: " in said.err


def test_the_front_of_paths_is_stripped(convert):
    said, (line,) = convert("avqa", {**AVQA, "video_path": "/group/x/v.mp4"}, words=("--strip", "/group/x"))
    assert said.code == 0 and line["file"] == "v.mp4" and line["audio"] == "a/v.mp3"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "has no record of task 'ave'"),
        (b"", "has no record of task 'ave'"),
        (b'[{"event": "Bark",\n', "is broken at line 1: an item is no JSON"),
        (b'[{"event": "Bark", "vid": "x", "start_time": 1, "end_time": 2},\n', "broken at line 2: it ends before"),
        (b"[" * 100_000, "is broken at line 1"),
        (b'["\xff"]', "is not UTF-8"),
    ],
)
def test_broken_files_leave_nothing_behind(crab, tmp_path, content, told):
    source, out = tmp_path / "in.json", tmp_path / "new" / "out.jsonl"
    source.write_bytes(content)
    said = crab("data", "convert", source, "--task", "ave", "-o", out)
    assert said.code == 3 and told in said.err
    assert list(out.parent.iterdir()) == []


def test_mistakes_in_options(crab, convert, tmp_path):
    said, _ = convert("ks", AVE)
    assert said.code == 2 and "records of task 'ks' cannot be read" in said.err
    convert("ave", AVE)
    again, _ = convert("ave", AVE)
    assert again.code == 2 and "is there already" in again.err and "--overwrite" in again.err
    same = crab("data", "convert", tmp_path / "in.json", "--task", "ave", "-o", tmp_path / "in.json", "--overwrite")
    assert same.code == 2 and "is the file to convert" in same.err
    folder = crab("data", "convert", tmp_path / "in.json", "--task", "ave", "-o", tmp_path)
    assert folder.code == 2 and "is a folder" in folder.err
    none = crab("data", "convert", tmp_path / "none.json", "--task", "ave", "-o", tmp_path / "x.jsonl")
    assert none.code == 3 and "cannot read" in none.err
    inside = crab("data", "convert", tmp_path / "in.json", "--task", "ave", "-o", tmp_path / "in.json" / "x.jsonl")
    assert inside.code == 5 and "cannot write" in inside.err
