"""`crab localize` inside one process, with a family that says what it is told."""

from __future__ import annotations

import json
import re
import sys
from fractions import Fraction
from pathlib import Path

import av
import fake_family
import numpy as np
import pytest
from fake_family import FakeFamily, write_clip, write_model

from crab_core.types import Box, Event, Result

WHERE = "The sounding object is dog. Its coordinates are <obj>(10,20)(110,200)</obj>."


@pytest.fixture
def localize(crab, folder: Path):
    """Runs `crab localize` with the fake model."""
    return lambda *words: crab("localize", *words, "--model", folder, "--device", "cpu")


@pytest.fixture
def placing(family: FakeFamily, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake model, trained to find boxes too."""
    monkeypatch.setitem(fake_family.ASKED, "recognize the category of object", "arig")
    return write_model(folder, tasks=["avvp", "ave", "arig"])


def test_events_are_rows_on_stdout(localize, clip: Path) -> None:
    said = localize(clip)
    assert (said.code, said.out, said.err) == (0, "0\t2\tvisual\tdog\n1\t3\taudio\tdog\n", "")
    assert localize(clip, "--task", "ave").out == "0\t2\tboth\tdog\n"


def test_a_terminal_sees_a_table_and_a_timeline(localize, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = localize(clip).out.splitlines()
    assert lines[0].split() == ["start_s", "end_s", "track", "label"]
    assert lines[3] == "" and lines[4].split() == ["0s", "1s", "2s", "3s"]
    assert lines[5].startswith("dog (seen)   ███") and lines[6].startswith("dog (heard)  ···")


def test_json_is_the_whole_result(localize, clip: Path) -> None:
    result = Result.from_dict(json.loads(localize(clip, "--json").out))
    assert result.events == (Event("dog", 0, 2, "visual"), Event("dog", 1, 3, "audio"))
    assert (result.task, result.question) == ("avvp", None)


def test_files_of_every_format(localize, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert localize(clip, "-o", out, "-f", "all").code == 0
    ends = ("csv", "eaf", "json", "labels.txt", "labelstudio.json", "srt", "tsv", "vtt")
    assert sorted(path.name for path in out.iterdir()) == [f"clip.mp4.{end}" for end in ends]
    assert (out / "clip.mp4.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:02,000\ndog (seen)\n")


def test_a_folder_is_a_batch(localize, family: FakeFamily, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    write_clip(clips / "a.mp4")
    write_clip(clips / "long.mp4", 12.0)
    (clips / "empty.mp4").touch()
    said = localize(clips, "-o", tmp_path / "out", "-f", "vtt", "--window", 6)
    assert said.code == 1 and said.out.startswith("a.mp4\t0\t2\tvisual\tdog\n")
    rows = [json.loads(row) for row in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {row["id"]: len(row["raw_text"].splitlines()) for row in rows} == {"a.mp4": 1, "long.mp4": 3}
    assert (tmp_path / "out" / "a.mp4" / "avvp.vtt").exists()
    again = localize(clips, "-o", tmp_path / "out", "-f", "vtt", "--window", 6)
    assert "resumed 2/3" in again.err
    assert "resumed 0/3" in localize(clips, "-o", tmp_path / "out", "--window", 5).err


def test_boxes_once_an_event_that_is_heard(localize, family: FakeFamily, placing: Path, clip: Path) -> None:
    family.network.says["arig"] = WHERE
    family.network.says["avvp"] = "<visual_event>dog,(0 2)</visual_event> <audio_event>dog,(0 1),(2 3)</audio_event>"
    result = Result.from_dict(json.loads(localize(clip, "--where", "--json").out))
    assert [box.time_s for box in result.boxes] == [0.5, 2.5]
    assert result.boxes[0].label == "dog" and result.boxes[0].x1 <= 32 and result.boxes[0].y1 <= 24
    assert len(result.events) == 3 and WHERE in result.raw_text


def test_boxes_at_chosen_times(localize, family: FakeFamily, placing: Path, clip: Path) -> None:
    family.network.says["arig"] = WHERE
    said = localize(clip, "--where", "--at", "2.5, 1")
    events, boxes = said.out.split("\n\n")
    assert len(events.splitlines()) == 2
    assert [row.split("\t")[0] for row in boxes.splitlines()] == ["1", "2.5"]
    assert {row.split("\t")[-1] for row in boxes.splitlines()} == {"dog"}


def test_no_event_is_heard(localize, family: FakeFamily, placing: Path, clip: Path) -> None:
    family.network.says["avvp"] = "<visual_event>none</visual_event> and <audio_event>none</audio_event>"
    said = localize(clip, "--where")
    assert said.code == 0 and "note: nothing was heard, so no boxes were looked for\n" in said.err


def test_boxes_in_a_batch(localize, family: FakeFamily, placing: Path, clip: Path, tmp_path: Path) -> None:
    family.network.says["arig"] = WHERE
    listed = tmp_path / "list.txt"
    listed.write_text(f"{clip}\n")
    assert localize(listed, "-o", tmp_path / "out", "--where").code == 0
    (row,) = (json.loads(row) for row in (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert [Box(**box).time_s for box in row["boxes"]] == [2.0]


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        pytest.param(["--task", "avqa"], 2, "'avqa' is not one of 'avvp', 'ave'", "", id="a task without events"),
        pytest.param(["-f", "srx", "-o", "OUT"], 2, "no format is called 'srx'", "Did you mean 'srt'?", id="format"),
        pytest.param(["-f", "srt"], 2, "--format 'srt' writes files, and no folder", "--out DIR", id="no folder"),
        pytest.param(["-o", "/dev/null"], 2, "cannot make the folder '/dev/null'", "another --out", id="unwritable"),
        pytest.param(["--at", "1"], 2, "--at '1' says when to look for boxes", "--where", id="at without where"),
        pytest.param(["--where", "--at", "1,x"], 2, "'x' is not a number of seconds, in '1,x'", "", id="no number"),
        pytest.param(["--where", "--at", "-1"], 2, "'-1' is not a time of the clip", "", id="before the clip"),
        pytest.param(["--where", "--at", ""], 2, "'' is not a number of seconds", "", id="no times"),
        pytest.param(
            ["--where", "--at", "99"], 2, "'99' s lies outside", "Give times from 0 to 3", id="beyond the clip"
        ),
        pytest.param(["--window", "0.5"], 2, "0.5 is not in the range", "", id="a tiny window"),
        pytest.param(["--shard", "1/2"], 2, "--shard is for many clips", "folder", id="one clip in shares"),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(
    localize,
    family: FakeFamily,
    placing: Path,
    clip: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    message: str,
    hint: str,
) -> None:
    said = localize(clip, *[str(tmp_path / "out") if word == "OUT" else word for word in words])
    assert said.code == code and message in said.err and hint in said.err
    assert len(said.err.splitlines()) <= 3 and said.out == "" and family.loads == []


def test_a_file_that_is_there_is_kept(localize, family: FakeFamily, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.srt").write_text("mine")
    said = localize(clip, "-o", tmp_path, "-f", "srt")
    assert said.code == 2 and "clip.mp4.srt' is there already" in said.err and family.loads == []
    assert (tmp_path / "clip.mp4.srt").read_text() == "mine"
    assert localize(clip, "-o", tmp_path, "-f", "srt", "--overwrite").code == 0
    assert "dog" in (tmp_path / "clip.mp4.srt").read_text()


def test_a_model_that_knows_no_places(localize, family: FakeFamily, folder: Path, clip: Path) -> None:
    write_model(folder, tasks=["avvp", "ave"])
    for source in (clip, clip.parent):
        said = localize(source, "--where", "-o", clip.parent / "out")
        assert said.code == 4 and family.loads == []
        assert "'fake' was not trained to tell where something sounds (ssl or arig), only on avvp, ave" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mute.mp4", "--task", "ave"], "no sound in '.*mute.mp4', and task 'ave' listens"),
        (["mute.mp4", "--where"], "no sound in '.*mute.mp4', and task 'arig' listens"),
        (["sound.m4a", "--task", "ave"], "no picture in '.*sound.m4a', and task 'ave' looks"),
        (["sound.m4a", "--where"], "no picture in '.*sound.m4a', and task 'arig' looks"),
        (["empty.mp4"], "'.*empty.mp4' is empty"),
        (["none.mp4"], "none.mp4"),
    ],
)
def test_clips_that_cannot_be_used(
    localize, family: FakeFamily, placing: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    write_clip(tmp_path / "mute.mp4", sound=False)
    write_clip(tmp_path / "sound.m4a", pictures=False)
    (tmp_path / "empty.mp4").touch()
    said = localize(tmp_path / words[0], *words[1:])
    assert said.code == 3 and family.loads == [] and said.out == ""
    assert re.search(message, said.err), said.err


def test_what_needs_only_one_sense_is_told(localize, tmp_path: Path) -> None:
    assert localize(write_clip(tmp_path / "mute.mp4", sound=False)).code == 0
    assert localize(write_clip(tmp_path / "sound.m4a", pictures=False)).code == 0
    assert localize(write_clip(tmp_path / "mute.mp4", sound=False), "--require-audio").code == 3


def test_an_answer_without_events_is_told(localize, family: FakeFamily, clip: Path) -> None:
    family.network.says["avvp"] = "I do not know ."
    said = localize(clip)
    assert said.code == 0 and "note: the text has no event tag\n" in said.err
    assert json.loads(localize(clip, "--json").out)["events"] == []
    family.network.says["avvp"] = "  "
    assert localize(clip).code == 4


def test_contradictions_are_listed(localize, family: FakeFamily, tmp_path: Path) -> None:
    mute = write_clip(tmp_path / "mute.mp4", sound=False)
    said = localize(mute)
    assert "note: contradiction: 'dog' is told as heard from 1 to 3 s, and there is no sound track\n" in said.err
    result = Result.from_dict(json.loads(localize(mute, "--json").out))
    assert result.consistency == ("'dog' is told as heard from 1 to 3 s, and there is no sound track",)
    spans = ",".join(f"({i} {i + 1})" for i in range(0, 8))
    mute = write_clip(tmp_path / "longer.mp4", 9.0, sound=False)
    family.network.says["avvp"] = f"<audio_event>dog,{spans}</audio_event>"
    assert "note: 3 more contradictions: see 'consistency' with --json" in localize(mute).err


def write_film(path: Path, frames: int, rate: Fraction, rotation: int = 0) -> Path:
    """Pictures of 32 x 24 pixels, turned when shown."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, width=32, height=24, pix_fmt="yuv420p")
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            picture = np.full((24, 32, 3), i % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    return path


def test_two_hours(localize, tmp_path: Path) -> None:
    path = write_film(tmp_path / "hours.mp4", 720, Fraction(1, 10))
    said = localize(path, "--window", 10, "--stride", 10, "--json")
    result = json.loads(said.out)
    assert result["duration_s"] == 7200.0 and len(result["raw_text"].splitlines()) == 720
    assert [event["start_s"] for event in result["events"][-2:]] == [7190.0, 7191.0]


def test_a_phone_held_upright(localize, family: FakeFamily, placing: Path, clip: Path, tmp_path: Path) -> None:
    family.network.says["arig"] = WHERE.replace("(10,20)(110,200)", "(0,0)(224,224)")
    upright = write_film(tmp_path / "upright.mp4", 12, Fraction(4), rotation=90)
    said = localize(upright, "--where", "--audio", clip, "--at", "1", "--json")
    (box,) = json.loads(said.out)["boxes"]
    assert [box[side] for side in ("x0", "y0", "x1", "y1")] == [0, 0, 24, 32]
