"""`crab segment` inside one process, with a family that draws a square."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import av
import fake_family
import numpy as np
import pytest
from fake_family import FakeFamily, FakeNetwork, write_clip, write_model
from PIL import Image
from pycocotools import mask as coco_mask

from crab_core.families._base import MASK_LOGITS, Generated
from crab_core.types import Result

SAYS = "The object making the sound is dog. Its mask is <mask_start>"
SIZE = (64, 48)


@pytest.fixture
def drawing(family: FakeFamily, folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """The fake model, trained on masks: a square in the upper left quarter."""
    monkeypatch.setitem(fake_family.ASKED, "egment out", "ms3")
    monkeypatch.setitem(fake_family.ASKED, "segment it out", "avss")
    plain = FakeNetwork.generate

    def draw(self: FakeNetwork, *words: object) -> Generated:
        written = plain(self, *words)  # type: ignore[arg-type]
        classes = 3 if self.says.get("classes") else 1
        logits = np.full((classes, 8, 8), -5.0, np.float32)
        logits[-1, :4, :4] = 5.0
        return dataclasses.replace(written, extras={MASK_LOGITS: logits} if "mask" in written.text else {})

    monkeypatch.setattr(FakeNetwork, "generate", draw)
    write_model(folder, tasks=["s4", "ms3", "avss", "ref-avs"])
    family.network.says["ms3"] = SAYS
    family.network.says["avss"] = SAYS
    return family.network


@pytest.fixture
def segment(crab, folder: Path, drawing: FakeNetwork) -> Callable[..., object]:
    """Runs `crab segment` with the fake model."""
    return lambda *words: crab("segment", *words, "--model", folder, "--device", "cpu")


def test_masks_are_rows_one_a_second(segment, clip: Path) -> None:
    said = segment(clip)
    assert said.code == 0, said.err
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [row[:2] for row in rows] == [["0", "dog"], ["1", "dog"], ["2", "dog"]]
    assert all(0.2 < float(row[3]) < 0.3 for row in rows), "a quarter of the frame"


def test_times_may_be_chosen(segment, clip: Path) -> None:
    assert [line[:4] for line in segment(clip, "--at", "2.5,0.5").out.splitlines()] == ["0.5\t", "2.5\t"]
    assert len(segment(clip, "--every", "0.5").out.splitlines()) == 6


def test_files_of_every_format_agree(segment, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (said := segment(clip, "-o", out, "-f", "all", "--preview")).code == 0, said.err
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"clip.mp4.{end}" for end in ("heat", "json", "masks", "overlay.mp4", "preview.png", "rle.json")]
    result = Result.from_dict(json.loads((out / "clip.mp4.json").read_text()))
    told = json.loads((out / "clip.mp4.rle.json").read_text())
    assert [category["name"] for category in told["categories"]] == ["dog"]
    for mask, image, annotation in zip(result.masks, told["images"], told["annotations"], strict=True):
        pixels = coco_mask.decode(annotation["segmentation"]).astype(bool)
        assert pixels.shape == (image["height"], image["width"]) and (pixels == mask.pixels).all()
        assert annotation["area"] == coco_mask.area(annotation["segmentation"])
        with Image.open(out / "clip.mp4.masks" / f"{mask.time_s:08.3f}.png") as picture:
            assert picture.mode == "P" and (np.array(picture).astype(bool) == mask.pixels).all()
        with Image.open(out / "clip.mp4.heat" / f"{mask.time_s:08.3f}.png") as warm:
            assert warm.size == mask.size
            inside = np.array(warm).astype(int).sum(-1)
        assert inside[mask.pixels].mean() > 1.5 * inside[~mask.pixels].mean(), "bright where the mask is"
    with Image.open(out / "clip.mp4.preview.png") as sheet:
        assert sheet.size[0] > 300


def test_the_overlay_plays_with_the_sound_of_the_clip(segment, clip: Path, tmp_path: Path) -> None:
    assert segment(clip, "-o", tmp_path, "-f", "mp4").code == 0
    with av.open(tmp_path / "clip.mp4.overlay.mp4") as film:
        video, sound = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name in ("aac", "mp3")
        assert float(film.duration / av.time_base) == pytest.approx(3, abs=0.2)


def test_an_expression_is_asked_for(segment, clip: Path, drawing: FakeNetwork) -> None:
    drawing.says["ms3"] = "In the image, the red one is nothing."
    said = segment(clip, "--expr", "The red one", "--at", "1", "--json")
    result = Result.from_dict(json.loads(said.out))
    assert (result.task, result.question) == ("ref-avs", "The red one")
    assert result.answer is not None and result.answer.text == "nothing"
    assert [mask.area_px for mask in result.masks] == [0]
    assert "the red one" in drawing.prompts[-1].parts[-1].text


def test_semantic_masks_have_the_classes_of_the_palette(
    segment, clip: Path, drawing: FakeNetwork, tmp_path: Path
) -> None:
    drawing.says["classes"] = "many"
    said = segment(clip, "--semantic", "--at", "0", "-o", tmp_path, "-f", "png", "-f", "json")
    assert said.code == 0, said.err
    result = Result.from_dict(json.loads((tmp_path / "clip.mp4.json").read_text()))
    assert [mask.class_index for mask in result.masks][-1] == 2
    with Image.open(tmp_path / "clip.mp4.masks" / "0000.000.png") as picture:
        assert 2 in np.unique(np.array(picture))
        assert picture.getpalette()[6:9] == [0, 128, 0], "class 2 of the palette of AVSBench"


def test_many_clips_keep_their_masks_in_the_results(segment, clip: Path, tmp_path: Path) -> None:
    (clips := tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (clips / name).write_bytes(clip.read_bytes())
    out = tmp_path / "out"
    said = segment(clips, "-o", out, "--at", "1")
    assert said.code == 0, said.err[-1500:]
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == ["a.mp4", "b.mp4"]
    assert all(len(row["masks"]) == 1 and row["masks"][0]["area_px"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        pytest.param(["--at", "7"], 2, "'7' s lies outside", id="beyond"),
        pytest.param(["--at", "x"], 2, "'x' is not a number of seconds", id="no-number"),
        pytest.param(["--every", "0"], 2, "--every must be above 0, got 0", id="every-0"),
        pytest.param(["--at", "1", "--every", "1"], 2, "ask for different times", id="two-times"),
        pytest.param(["--expr", "a", "--semantic"], 2, "--expr and --semantic ask for different", id="two-tasks"),
        pytest.param(["--expr", " "], 2, "--expr is empty", id="empty-expression"),
        pytest.param(["-f", "gif", "-o", "{tmp}"], 2, "no format is called 'gif'", id="format"),
        pytest.param(["-f", "png"], 2, "no folder was given", id="no-folder"),
        pytest.param(["--preview"], 2, "--preview writes files", id="preview-without-folder"),
        pytest.param(["--workers", "2"], 2, "--workers is for many clips", id="workers"),
    ],
)
def test_mistakes_are_told_before_the_model_loads(
    segment, family: FakeFamily, clip: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    said = segment(clip, *(word.format(tmp=tmp_path) for word in words))
    assert said.code == code and message in said.err, said.err
    assert family.loads == []


def test_existing_output_is_kept_unless_it_is_to_be_replaced(
    segment, family: FakeFamily, clip: Path, tmp_path: Path
) -> None:
    (held := tmp_path / "clip.mp4.rle.json").write_text("mine")
    said = segment(clip, "-o", tmp_path, "-f", "rle")
    assert said.code == 2 and f"'{held}' is there already" in said.err and family.loads == []
    assert held.read_text() == "mine"
    assert segment(clip, "-o", tmp_path, "-f", "rle", "--overwrite").code == 0
    assert json.loads(held.read_text())["annotations"]


def test_a_model_that_has_not_learnt_masks_is_refused(crab, family: FakeFamily, folder: Path, clip: Path) -> None:
    write_model(folder, tasks=["avqa"])
    said = crab("segment", clip, "--model", folder)
    assert said.code == 4 and "was not trained on task 'ms3', only on avqa" in said.err
    assert family.loads == []


def test_clips_without_sound_or_picture_are_refused(segment, tmp_path: Path) -> None:
    mute, dark = write_clip(tmp_path / "mute.mp4", sound=False), write_clip(tmp_path / "dark.mp4", pictures=False)
    (empty := tmp_path / "empty.mp4").touch()
    assert (said := segment(mute)).code == 3 and "no sound" in said.err
    assert (said := segment(dark)).code == 3 and "picture" in said.err
    assert segment(empty).code == 3


def test_an_answer_that_names_nothing_is_told(segment, clip: Path, drawing: FakeNetwork) -> None:
    drawing.says["ms3"] = "hm."
    said = segment(clip, "--at", "1")
    assert said.code == 0 and "the text names no object" in said.err
