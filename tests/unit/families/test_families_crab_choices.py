"""The grid of choices on the tiny release: each is taken and given back, and the best is written into the folder."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from tiny_crab import write_tiny
from tiny_release import write_release

from crab_core.engine import calibrate as engine
from crab_core.errors import InputError, ModelError
from crab_core.families import crab_choices
from crab_core.families._base import Choice, Precision
from crab_core.families.crab import FAMILY
from crab_core.families.crab_import import DIRECTIONS, Filler, import_crab
from crab_core.types import Mask
from crab_core.weights.folder import read_header, verify
from crab_core.weights.lazy import LazyTensor
from crab_core.weights.release import Choices, Release


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_release(tmp_path_factory.mktemp("release") / "tiny")
    files = {"llm": "llama", "clip": "clip", "beats": "beats.pt", "finetune": "finetune.bin", "avs": "avs.bin"}
    release = Release(**{role: root / name for role, name in files.items()}, bert_config=root / "bert.json")
    import_crab(release, Choices(positions=str(root / "positions.safetensors")), root / "model")
    return root / "model"


@pytest.fixture
def loaded(folder):
    return FAMILY.load(folder, Precision())


@pytest.fixture
def variants(monkeypatch):
    """Position matrices of the tiny decoder's width, as the package ships them for the real one."""

    def of(variant):
        width = torch.full((2, 16), {"train": 1.0, "infer": 2.0}[variant])
        values = {
            f"{variant}.{name}": LazyTensor((2, 16), width.dtype, None, lambda: width) for name in DIRECTIONS.values()
        }
        return Filler(values, variant)

    monkeypatch.setattr(crab_choices.Filler, "of", of)


def directions(network):
    return [b for name, b in network.model.named_buffers() if name.endswith("directions")]


def test_the_grid_starts_with_the_headers_own_choice(folder, loaded, variants):
    found = FAMILY.choices(loaded, read_header(folder))
    assert found[0] == Choice("train", (14, 22), "file")
    assert len(found) == len(set(found)) == 3 * 2 * 3


def test_without_shipped_values_of_that_width_the_folders_own_positions_stay(folder, loaded):
    assert {one.positions for one in FAMILY.choices(loaded, read_header(folder))} == {"file"}


def test_a_choice_lasts_as_long_as_its_block(loaded, variants):
    before = [one.clone() for one in directions(loaded)]
    with FAMILY.choosing(loaded, Choice("train", (14, 23), "infer")):
        assert loaded.model.config.mask.layers == (14, 23)
        assert all((one == 2).all() for one in directions(loaded))
    assert loaded.model.config.mask.layers == (14, 22)
    assert all(torch.equal(a, b) for a, b in zip(before, directions(loaded), strict=True))


@pytest.mark.parametrize("positions", ["file", "infer"])
def test_the_written_choice_is_what_the_folder_loads(folder, tmp_path, variants, positions):
    out = tmp_path / "model"
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    FAMILY.write_choice(out, Choice("quick-start", (14, 23), positions))
    header = verify(out)
    again = FAMILY.load(out, Precision())
    assert header.profile == "quick-start" and again.model.config.mask.layers == (14, 23)
    assert again.model.config.mask.positions == positions
    assert all((one == 2).all().item() == (positions == "infer") for one in directions(again))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_without_masks_has_nothing_to_calibrate(tmp_path):
    network = FAMILY.load(write_tiny(tmp_path / "m"), Precision())
    with pytest.raises(ModelError, match="draws no masks"):
        FAMILY.choices(network, read_header(tmp_path / "m"))


GRID = tuple(Choice(profile, (14, layer), "train") for profile in ("train", "quick-start") for layer in (22, 23))
BEST = GRID[2]


class OpenFake:
    """A family whose network draws the left half, and the right mask with the best choice alone."""

    chosen: Choice

    def choices(self, network, header):
        return GRID

    @contextlib.contextmanager
    def choosing(self, network, choice):
        network.layers = choice.layers
        yield

    def write_choice(self, folder, choice):
        raise AssertionError("calibrate only scores")


@dataclass(frozen=True)
class Header:
    profile: str = "train"


@dataclass(frozen=True)
class FakeModel:
    network: SimpleNamespace
    header: Header = Header()
    name: str = "fake"

    def infer(self, request):
        pixels = np.zeros((40, 40), bool)
        is_best = (self.header.profile, self.network.layers) == (BEST.profile, BEST.layers)
        pixels[: 20 if is_best else 40, :] = True
        return SimpleNamespace(masks=(Mask.of("dog", 0, pixels),))


def samples_file(folder, **change):
    truth = np.zeros((20, 20), np.uint8)
    truth[:10] = 255
    cv2.imwrite(str(folder / "m.png"), truth)
    row = {"task": "s4", "video_path": "a.mp4", "image_path": "f/3.jpg", "audio_path": "a.wav", "mask_path": "m.png"}
    rows = [{**row, **change}, {"task": "avqa", "question": "?"}]
    (folder / "example.json").write_text(json.dumps(rows))
    return folder / "example.json"


def test_the_best_choice_comes_first_and_equal_ones_keep_their_order(tmp_path):
    samples, others = engine.read_samples(samples_file(tmp_path))
    scored = engine.calibrate(FakeModel(SimpleNamespace()), OpenFake(), samples)
    assert (others, samples[0].request.at_s) == (1, (3.0,))
    assert (scored[0].choice, scored[0].iou) == (BEST, 1.0)
    assert [one.choice for one in scored[1:]] == [one for one in GRID if one != BEST]
    assert {one.iou for one in scored[1:]} == {0.5}


def test_a_family_that_leaves_nothing_open_is_told(tmp_path):
    samples, _ = engine.read_samples(samples_file(tmp_path))
    with pytest.raises(ModelError, match="nothing is left open"):
        engine.calibrate(FakeModel(SimpleNamespace()), object(), samples)


def test_empty_masks_and_truths():
    nothing, all_ = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert engine.iou((), nothing) == 1 and engine.iou((), all_) == 0
    assert engine.iou((Mask.of("", 0, nothing),), nothing) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("no", "is no file of samples", id="no-json"),
        pytest.param("{}", "no list of objects", id="object"),
        pytest.param('[{"task": "avqa"}]', "no sample with a mask", id="no-masks"),
        pytest.param('[{"task": "s4", "mask_path": "m.png"}]', "needs paths", id="no-picture"),
        pytest.param('[{"task": "s4", "mask_path": 3, "video_path": "a"}]', "needs paths as text", id="number"),
    ],
)
def test_files_that_are_no_samples(tmp_path, text, told):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(InputError, match=told):
        engine.read_samples(tmp_path / "e.json")


def test_masks_that_are_missing_or_no_pictures(tmp_path):
    samples, _ = engine.read_samples(samples_file(tmp_path))
    missing = replace(samples[0], truth=tmp_path / "none.png")
    (tmp_path / "bad.png").write_text("no")
    bad = replace(samples[0], truth=tmp_path / "bad.png")
    for sample, told in ((missing, "no mask"), (bad, "is no picture")):
        with pytest.raises(InputError, match=told):
            engine.calibrate(FakeModel(SimpleNamespace()), OpenFake(), [sample])
