"""SAM 2 behind our protocol: equal to transformers called as its documentation does, with a memory that is bounded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_sam2 import SIDE, write_sam2

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.families._base import Place, Precision
from crab_core.families.sam2 import MEAN, STD, Sam2, load, prepared, prompts
from crab_core.types import Box, Point

DOG = Place("dog", Box("dog", 8.0, 4.0, 70.0, 48.0), (Point("dog", 30.0, 20.0), Point("dog", 40.0, 30.0)))
SPOT = Place("spot", None, (Point("spot", 5.0, 6.0),))


def pictures(count: int) -> list[np.ndarray]:
    """Pictures (48, 80, 3) in which something moves."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 256, (48, 80, 3)).astype(np.uint8)
    return [np.roll(still, (number, 2 * number), (0, 1)) for number in range(count)]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="session")
def masker(weights: Path) -> Sam2:
    return load(weights, Precision())


def test_pictures_are_prepared_as_pillow_prepares_them_for_transformers() -> None:
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    processor = ViTImageProcessorPil(
        size={"height": SIDE, "width": SIDE}, resample=2, image_mean=MEAN, image_std=STD, do_rescale=True
    )
    smooth = np.kron(pictures(1)[0][:12, :20], np.ones((8, 8, 1), np.uint8))  # 96 x 160, made smaller
    for picture in (smooth, smooth[:40, :40]):  # and larger
        theirs = processor(picture, return_tensors="pt").pixel_values
        levels = (prepared(picture, SIDE) - theirs).abs() * torch.tensor(STD).view(1, 3, 1, 1) * 255
        assert levels.max() < 1.01, "Pillow rounds once more, between rows and columns"
        assert levels.mean() < 0.3


def test_a_picture_of_the_right_size_is_only_normalised() -> None:
    picture = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
    mean, std = np.array(MEAN), np.array(STD)
    assert np.allclose(prepared(picture, SIDE)[0].permute(1, 2, 0), (picture / 255 - mean) / std, atol=1e-6)


def test_coordinates_are_squeezed_as_the_picture_is() -> None:
    points, labels = prompts(DOG, (48, 80, 3), 160)
    assert points[0, 0, :3].tolist() == [
        [16.0, pytest.approx(4 * 160 / 48)],
        [140.0, 160.0],
        [60.0, pytest.approx(200 / 3)],
    ]
    assert labels.tolist() == [[[2, 3, 1, 1]]]


@torch.inference_mode()
def test_a_mask_of_a_picture_is_that_of_transformers(weights: Path, masker: Sam2) -> None:
    from transformers import Sam2Model

    model = Sam2Model.from_pretrained(weights).eval()
    picture = pictures(1)[0]
    scale = torch.tensor([SIDE / 80, SIDE / 48])
    told = model(
        pixel_values=prepared(picture, SIDE),
        input_points=torch.tensor([[[[30.0, 20.0], [40.0, 30.0]]]]) * scale,
        input_labels=torch.ones(1, 1, 2, dtype=torch.int32),
        input_boxes=torch.tensor([[[8.0, 4.0, 70.0, 48.0]]]) * scale.repeat(2),
        multimask_output=False,
    )
    ours = masker.draw(picture, [DOG, SPOT])
    assert len(ours) == 2 and ours[0].shape == (SIDE // 4, SIDE // 4)
    assert np.abs(ours[0] - told.pred_masks[0, 0, 0].numpy()).max() < 1e-5
    assert np.abs(ours[0] - ours[1]).max() > 1e-4, "another place is another mask"
    assert masker.draw(picture, []) == []


@torch.inference_mode()
def test_tracking_equals_transformers_that_forgets_nothing(masker: Sam2) -> None:
    from transformers import Sam2VideoInferenceSession

    model = masker.network("video")
    frames = pictures(24)
    whole = torch.cat([prepared(picture, SIDE) for picture in frames])
    session = Sam2VideoInferenceSession(video=whole, video_height=48, video_width=80, dtype=torch.float32)
    for number, place in enumerate((DOG, SPOT)):
        points, labels = prompts(place, (48, 80), SIDE)
        session.add_point_inputs(session.obj_id_to_idx(number), 0, {"point_coords": points, "point_labels": labels})
    session.obj_with_new_inputs = [0, 1]
    theirs = [one.pred_masks.numpy() for one in model.propagate_in_video_iterator(session, start_frame_idx=0)]
    tracker = masker.tracker()
    ours = [tracker.start(frames[0], [DOG, SPOT]), *(tracker.follow(picture) for picture in frames[1:])]
    assert len(theirs) == len(ours) == 24
    far = [np.abs(np.stack(mine) - other[:, 0]).max() for mine, other in zip(ours, theirs, strict=True)]
    assert max(far[:16]) < 1e-5
    assert max(far) < 1e-5, "what was forgotten is not looked at"


def test_memory_does_not_grow_with_the_video(masker: Sam2) -> None:
    tracker = masker.tracker()
    frames = pictures(40)
    tracker.start(frames[0], [DOG])
    for picture in frames[1:]:
        tracker.follow(picture)
    most = max(
        masker.network("video").config.num_maskmem, masker.network("video").config.max_object_pointers_in_encoder
    )
    assert tracker.remembered == most + 1, "the first picture and the last ones"
    assert not tracker._session.processed_frames


def test_nothing_is_followed_until_something_is_started(masker: Sam2) -> None:
    tracker = masker.tracker()
    assert tracker.follow(pictures(1)[0]) == [] and tracker.start(pictures(1)[0], []) == []
    assert len(tracker.start(pictures(1)[0], [DOG])) == 1
    assert tracker.start(pictures(1)[0], []) == [] and tracker.follow(pictures(1)[0]) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("no config", "config.json cannot be read"),
        ("other model", "a model of type 'llama', not SAM 2"),
        ("no weights", "has no weights of SAM 2 as safetensors"),
    ],
)
def test_a_folder_that_is_not_sam2_is_refused(weights: Path, tmp_path: Path, damage: str, told: str) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "copy"))
    if damage == "no config":
        (folder / "config.json").write_text("{", encoding="utf-8")
    elif damage == "other model":
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}), encoding="utf-8")
    else:
        (folder / "model.safetensors").rename(folder / "model.bin")
    with pytest.raises(ModelError, match=told):
        load(folder, Precision())


def test_lacking_and_cut_weights_are_told(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(weights, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["mask_decoder.iou_token.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsMismatch, match="lacks 'mask_decoder.iou_token.weight'"):
        load(folder, Precision()).draw(pictures(1)[0], [DOG])
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(folder, Precision()).draw(pictures(1)[0], [DOG])


def test_weights_of_pictures_only_do_not_track(weights: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(weights, tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam2"}), encoding="utf-8")
    with pytest.raises(UsageError, match="cannot track"):
        load(folder, Precision()).tracker()


def test_a_place_is_somewhere() -> None:
    with pytest.raises(ValueError, match="neither a box nor a point"):
        Place("dog")
