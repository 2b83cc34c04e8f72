"""`--masks sam2` at the command line: a tiny SAM 2 with random weights draws what any model's boxes show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_family import FakeFamily, write_model
from tiny_sam2 import write_sam2

Crab = Callable[..., Any]
KNOWN = ["s4", "ms3", "ref-avs", "avcap"]


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("weights") / "tiny-sam2")


@pytest.fixture
def plus(family: FakeFamily, tmp_path: Path) -> Path:
    """A model folder that tells boxes and points like Crab+."""
    return write_model(tmp_path / "plus", tasks=KNOWN, profile="plus")


def document(said: Any) -> dict[str, Any]:
    assert said.code == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_places_become_masks_of_the_frames_size(crab: Crab, plus: Path, sam2: Path, clip: Path) -> None:
    words = ("segment", clip, "--task", "s4", "--at", "1", "--model", plus, "--sam2", sam2, "--json")
    found = document(crab(*words))
    (mask,) = found["masks"]
    assert mask["rle"]["size"] == [24, 32] and mask["label"] == "dog" and mask["heat"].startswith("16x16:")
    assert len(found["points"]) == 3 and len(found["boxes"]) == 1
    assert "masks are drawn by 'tiny-sam2' from the boxes" in found["notes"]


def test_masks_are_tracked_and_written(crab: Crab, plus: Path, sam2: Path, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    timing = ("--every", "2", "--track", "0.5")
    words = ("segment", clip, "--task", "s4", *timing, "-o", out, "-f", "png", "-f", "mp4", "--preview")
    said = crab(*words, "--model", plus, "--sam2", sam2)
    assert said.code == 0, said.err
    assert [line.split("\t")[0] for line in said.out.splitlines()] == ["0", "0.5", "1", "1.5", "2", "2.5"]
    assert len(list((out / "clip.mp4.masks").iterdir())) == 6
    assert (out / "clip.mp4.overlay.mp4").stat().st_size > 0


def test_mini_tells_boxes_and_sam2_draws(crab: Crab, sam2: Path, clip: Path) -> None:
    found = document(crab("segment", clip, "--at", "1", "--masks", "sam2", "--sam2", sam2, "--json"))
    assert found["model"] == "mini" and found["task"] == "ms3"
    assert "masks are drawn by 'tiny-sam2' from the boxes of task 'ssl'" in found["notes"]
    assert found["masks"][0]["rle"]["size"] == [24, 32]


def test_many_clips_are_drawn_and_resumed(crab: Crab, plus: Path, sam2: Path, clip: Path, tmp_path: Path) -> None:
    words = ("segment", clip.parent, "--glob", "clip.mp4", "--task", "s4", "--at", "1", "--model", plus)
    said = crab(*words, "--sam2", sam2, "-o", tmp_path / "out")
    assert said.code == 0, said.err
    row = json.loads((tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8"))
    assert row.get("masks", row.get("result", {}).get("masks")), row
    assert "resumed 1/1" in crab(*words, "--sam2", sam2, "-o", tmp_path / "out").err


def test_eval_draws_too(crab: Crab, plus: Path, sam2: Path, clip: Path, tmp_path: Path) -> None:
    from numpy import ones

    from crab_core.types import Mask

    rle = Mask.of("", 1.0, ones((24, 32), bool)).to_rle()
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"file": "clip.mp4", "frames": [{"time_s": 1, "masks": [{"rle": rle}]}]}))
    said = crab("eval", "--task", "s4", "--data", data, "--model", plus, "--sam2", sam2, "--json")
    lines = document(said)["tables"][0]["lines"]
    assert {"mIoU", "mIoU, unread left out (Crab+)"} <= {line["name"] for line in lines}


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--task", "s4"), 4, "SAM 2 is not on this machine"),
        (("--task", "s4", "--sam2", "nowhere"), 4, "no folder 'nowhere' with SAM 2"),
        (("--task", "s4", "--masks", "own"), 4, "tells boxes and points and draws no masks of its own"),
        (("--semantic", "--masks", "sam2"), 4, "tells no boxes for task 'avss'"),
        (("--semantic", "--sam2", "x"), 4, "Ask what sounds: crab segment CLIP, or choose another --model."),
        (("--task", "s4", "--masks", "own", "--sam2", "x"), 2, "is not used with --masks own"),
        (("--task", "s4", "--track", "0"), 2, "--track must be above 0"),
        (("--task", "s4", "--track", "nan"), 2, "--track must be above 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_loading(
    crab: Crab,
    family: FakeFamily,
    plus: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    code: int,
    told: str,
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub" / "hub"))
    said = crab("segment", clip, *words, "--model", plus)
    assert said.code == code and told in said.err, said.err
    assert not family.loads


def test_tracking_is_for_sam2(crab: Crab, clip: Path) -> None:
    said = crab("segment", clip, "--track", "0.5")
    assert said.code == 2 and "--track 0.5 is for masks by SAM 2" in said.err


def test_a_folder_that_is_not_sam2_is_told(crab: Crab, plus: Path, clip: Path, tmp_path: Path) -> None:
    said = crab("segment", clip, "--task", "s4", "--model", plus, "--sam2", tmp_path)
    assert said.code == 4 and "holds no SAM 2" in said.err


def test_where_sam2_lies_can_be_asked(crab: Crab) -> None:
    said = crab("models", "where", "sam2")
    assert said.code == 0 and "facebook/sam2.1-hiera-large" in said.out
