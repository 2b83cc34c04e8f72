"""The note about a clip that looks unlike the training's: where it comes, where it does not, what keeps it."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from crab_core.engine.resolve import folder_of
from crab_core.engine.session import Model, load
from crab_core.errors import ModelError
from crab_core.media import write_video
from crab_core.types import Decoding
from crab_core.weights.folder import DOMAIN, read_domain, read_header, verify, write_domain
from crab_core.world.bank import load_bank
from crab_core.world.picture import render_frames
from crab_core.world.scene import sample_scene

REPO = Path(__file__).parents[3]
NOTE = "the pictures look unlike those that the model was trained on: take the answers as guesses"
SHORT = Decoding(max_new_tokens=1)
FPS, SIZE_PX = 2, 112


@pytest.fixture(scope="module")
def mini() -> Model:
    return load("mini", device="cpu")


def noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8)


def drawing(rng: np.random.Generator) -> np.ndarray:
    page = np.full((SIZE_PX, SIZE_PX, 3), 250, np.uint8)
    for start, end in rng.integers(0, SIZE_PX, (25, 2, 2)).tolist():
        cv2.line(page, start, end, (20, 20, 20), 1, cv2.LINE_AA)
    return page


def checker(rng: np.random.Generator) -> np.ndarray:
    places = np.arange(SIZE_PX) // 8
    return np.array([[250, 30, 30], [20, 20, 240]], np.uint8)[(places[:, None] + places) % 2]


def film(path: Path, make, seconds: int = 10, sound: bool = False) -> Path:
    rng = np.random.default_rng(3)
    frames = np.stack([make(rng)] * (seconds * FPS))
    wave = rng.normal(0, 0.1, seconds * 16_000).astype(np.float32) if sound else None
    write_video(path, frames, FPS, wave, preset="ultrafast")
    return path


def is_noted(model: Model, path: Path, task: str = "avqa") -> bool:
    question = "How many things are in the video?" if task == "avqa" else None
    return NOTE in model.look(path, task=task).ask(question, task, SHORT).notes


@pytest.mark.parametrize("make", [noise, drawing, checker], ids=lambda make: make.__name__)
@pytest.mark.parametrize("seconds", [1, 10])
def test_pictures_of_another_kind_are_noted(mini: Model, tmp_path: Path, make, seconds: int) -> None:
    assert is_noted(mini, film(tmp_path / "clip.mp4", make, seconds))


@pytest.mark.parametrize("clip", sorted((REPO / "examples/clips").glob("*.mp4")), ids=lambda path: path.name)
def test_shipped_clips_are_not_noted(mini: Model, clip: Path) -> None:
    assert not is_noted(mini, clip)


@pytest.mark.parametrize("index", range(2))
@pytest.mark.parametrize("seconds", [1, 10])
def test_scenes_of_the_world_are_not_noted(mini: Model, tmp_path: Path, index: int, seconds: int) -> None:
    bank = load_bank()
    frames = render_frames(sample_scene("test", index, bank=bank), bank, 224, [k / FPS for k in range(seconds * FPS)])
    write_video(tmp_path / "clip.mp4", frames, FPS, preset="ultrafast")
    assert not is_noted(mini, tmp_path / "clip.mp4")


def test_moments_masks_and_windows_tell_it_once(mini: Model, tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", noise, 25, sound=True)
    seen = mini.look(clip, task="avvp")
    for task in ("avvp", "ssl", "s4"):
        request = dataclasses.replace(seen.request, task=task, at_s=(1.0, 12.0) if task != "avvp" else ())
        notes = mini.infer(request, SHORT).notes
        assert sum(NOTE in note for note in notes) == 1, (task, notes)


def test_one_strange_window_is_named(mini: Model, tmp_path: Path) -> None:
    bank, rng = load_bank(), np.random.default_rng(0)
    scene = sample_scene("test", 0, bank=bank)
    known = render_frames(scene, bank, SIZE_PX, [k / FPS for k in range(10 * FPS)])
    odd = np.stack([noise(rng)] * (10 * FPS))
    write_video(tmp_path / "clip.mp4", np.concatenate([known, odd]), FPS, np.zeros(320_000, np.float32))
    request = mini.look(tmp_path / "clip.mp4", task="avvp").request
    result = mini.infer(dataclasses.replace(request, window_s=10.0, stride_s=10.0), SHORT)
    assert f"window 10-20 s: {NOTE}" in result.notes


def test_a_sound_alone_is_not_noted(mini: Model, tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "hiss.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(0).integers(-9000, 9000, 32_000).astype("<i2").tobytes())
    assert not is_noted(mini, tmp_path / "hiss.wav", "avqa")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder_of("mini"), tmp_path / "copy"))


def without_statistics(folder: Path) -> Path:
    document = json.loads((folder / "crab.json").read_text())
    del document["files"][DOMAIN]
    (folder / "crab.json").write_text(json.dumps(document))
    (folder / DOMAIN).unlink()
    return folder


def test_a_model_without_statistics_tells_nothing(copy: Path, tmp_path: Path) -> None:
    model = load(without_statistics(copy), device="cpu")
    assert not is_noted(model, film(tmp_path / "clip.mp4", noise))
    assert model.header.note in model.look(tmp_path / "clip.mp4").ask("How many things?", decoding=SHORT).notes


def test_statistics_can_be_written_again_and_change_no_answer(copy: Path, tmp_path: Path, mini: Model) -> None:
    before = read_domain(copy, read_header(copy))
    write_domain(copy, {**before, "limits": before["limits"] * 1e6})
    assert set(verify(copy).files) == set(mini.header.files)
    lenient, clip = load(copy, device="cpu"), film(tmp_path / "clip.mp4", noise)
    assert not is_noted(lenient, clip)
    asked = [one.look(clip).ask("How many things are in the video?").raw_text for one in (lenient, mini)]
    assert asked[0] == asked[1]


def test_packed_weights_keep_the_statistics(tmp_path: Path, mini: Model) -> None:
    from crab_core.registry import FAMILIES

    header = FAMILIES["crab"].load().quantize_folder(folder_of("mini"), "4bit", tmp_path / "packed")
    assert header.files[DOMAIN] == mini.header.files[DOMAIN]
    packed = load(tmp_path / "packed", device="cpu")
    assert is_noted(packed, film(tmp_path / "clip.mp4", drawing))
    assert not is_noted(packed, REPO / "examples/clips/00000.mp4")


def test_half_precision_judges_alike(mini: Model, tmp_path: Path) -> None:
    half = load("mini", device="cpu", dtype="bfloat16")
    views = [REPO / "examples/clips/00000.mp4", film(tmp_path / "clip.mp4", checker)]
    assert [is_noted(half, one) for one in views] == [False, True]


def test_statistics_of_another_encoder_are_refused(copy: Path) -> None:
    before = read_domain(copy, read_header(copy))
    narrow = {"mean": before["mean"][:8], "whitening": before["whitening"][:8, :8], "limits": before["limits"]}
    write_domain(copy, narrow)
    with pytest.raises(ModelError, match=r"is of 8 numbers, and the encoder gives 160"):
        load(copy, device="cpu")
