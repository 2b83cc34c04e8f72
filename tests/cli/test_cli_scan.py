"""`crab scan` inside one process: everything at once, what cannot be said is left out and told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import fake_family
import numpy as np
import pytest
from fake_family import FakeFamily, FakeNetwork, write_clip, write_model

from crab_core.families._base import MASK_LOGITS, Generated
from crab_core.types import Result

BOX = "The sounding object is dog. Its coordinates are <obj>(10,20)(110,200)</obj>."
MASK = "The object making the sound is dog. Its mask is <mask_start>"


@pytest.fixture
def scan(crab, family: FakeFamily, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Runs `crab scan` with a fake model that knows everything."""
    monkeypatch.setitem(fake_family.ASKED, "recognize the category of object that", "arig")
    monkeypatch.setitem(fake_family.ASKED, "egment out", "ms3")
    plain = FakeNetwork.generate

    def draw(self: FakeNetwork, *words: object) -> Generated:
        written = plain(self, *words)  # type: ignore[arg-type]
        logits = np.full((1, 8, 8), 5.0, np.float32)
        return dataclasses.replace(written, extras={MASK_LOGITS: logits} if "mask" in written.text else {})

    monkeypatch.setattr(FakeNetwork, "generate", draw)
    write_model(folder, tasks=["avqa", "avvp", "avcap", "arig", "ms3"])
    family.network.says |= {"arig": BOX, "ms3": MASK}
    return lambda *words: crab("scan", *words, "--model", folder, "--device", "cpu")


def scanned(said) -> Result:  # type: ignore[no-untyped-def]
    assert said.code == 0, said.err
    return Result.from_dict(json.loads(said.out))


def test_one_result_has_caption_events_boxes_and_masks(scan, clip: Path) -> None:
    result = scanned(scan(clip, "--json"))
    assert result.task == "scan"
    assert result.answer is not None and result.answer.text == "a dog barks on the left ."
    assert {event.track for event in result.events} == {"visual", "audio"}
    assert [box.time_s for box in result.boxes] == [mask.time_s for mask in result.masks] == [2.0]


def test_a_clip_is_encoded_once_a_view(scan, family: FakeFamily, clip: Path) -> None:
    scan(clip)
    views = [(tuple(one.frame_times_s), one.sound_windows_s) for one in family.network.clips]
    assert len(views) <= 5, "caption, events, boxes and masks: one each at most, for a family that shares nothing"


def test_a_terminal_reader_sees_caption_events_boxes_and_masks_in_turn(scan, clip: Path) -> None:
    parts = scan(clip).out.strip().split("\n\n")
    assert parts[0] == "a dog barks on the left ."
    assert [part.splitlines()[0].split("\t")[-1] for part in parts[1:3]] == ["dog", "dog"]
    assert parts[3].startswith("2\tdog\t")


def test_times_may_be_chosen(scan, clip: Path) -> None:
    assert [mask.time_s for mask in scanned(scan(clip, "--at", "0.5,1.5", "--json")).masks] == [0.5, 1.5]
    assert (said := scan(clip, "--at", "9")).code == 2 and "'9' s lies outside" in said.err


def test_what_the_model_has_not_learnt_is_left_out_and_told(scan, folder: Path, clip: Path) -> None:
    write_model(folder, tasks=["avqa", "avvp"])
    result = scanned(scan(clip, "--json"))
    assert result.events and not result.boxes and not result.masks and result.answer is None
    told = " ".join(result.notes)
    assert "no masks: model 'fake' was not trained on ms3 or s4" in told and "no caption" in told and "no boxes" in told


def test_what_the_clip_does_not_hold_is_left_out_and_told(scan, tmp_path: Path) -> None:
    mute = write_clip(tmp_path / "mute.mp4", sound=False)
    result = scanned(scan(mute, "--json"))
    assert result.answer is not None and not result.masks
    assert any(note.startswith("no masks: ") and "sound" in note for note in result.notes)


def test_files_of_both_kinds(scan, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = scan(clip, "-o", out, "-f", "all", "--preview")
    assert said.code == 0, said.err
    names = {path.name.removeprefix("clip.mp4.") for path in out.iterdir()}
    assert {"json", "srt", "vtt", "eaf", "rle.json", "masks", "overlay.mp4", "preview.png"} <= names
    assert scan(clip, "-o", out, "-f", "srt").code == 2, "what is there stays"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["-f", "gif", "-o", "{tmp}"], "no format is called 'gif'", id="format"),
        pytest.param(["-f", "srt"], "no folder was given", id="no-folder"),
        pytest.param(["--preview"], "no folder was given", id="preview"),
    ],
)
def test_mistakes_are_told_before_the_model_loads(
    scan, family: FakeFamily, clip: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    said = scan(clip, *(word.format(tmp=tmp_path) for word in words))
    assert said.code == 2 and message in said.err and family.loads == []


def test_a_missing_file_is_told(scan, tmp_path: Path) -> None:
    assert scan(tmp_path / "no.mp4").code == 3
