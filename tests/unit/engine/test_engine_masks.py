"""Logits become masks of the original frame: enlarged first, decided afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from crab_core.engine.masks import binary_mask, enlarged, masks_of, semantic_masks
from crab_core.families._base import Generated

SIZES = [(64, 48), (224, 224), (1920, 1080), (360, 640), (33, 7)]


def disc(side: int = 224, place: float = 0.5, radius: float = 0.25) -> np.ndarray:
    """Logits (side, side) above 0 inside a disc."""
    across = (np.arange(side) + 0.5) / side
    return (20 * (radius - np.hypot(*np.meshgrid(across - place, across - place)))).astype(np.float32)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_enlarging_is_torchs_bilinear(size: tuple[int, int]) -> None:
    logits = np.random.default_rng(1).normal(size=(28, 28)).astype(np.float32)
    given = torch.from_numpy(logits)[None, None]
    expected = F.interpolate(given, size=size[::-1], mode="bilinear", align_corners=False)[0, 0].numpy()
    assert np.abs(enlarged(logits, size) - expected).max() < 2e-2  # OpenCV rounds its weights


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_disc_covers_its_share_of_any_frame(size: tuple[int, int]) -> None:
    mask = binary_mask(disc(28), "dog", 3.0, size)
    assert mask.size == size and mask.time_s == 3.0 and mask.label == "dog"
    assert mask.area_px / (size[0] * size[1]) == pytest.approx(np.pi / 16, abs=0.02)
    assert 0.5 < mask.score < 1


def test_edges_are_those_of_enlarged_logits_not_of_enlarged_pixels() -> None:
    coarse, size = disc(14), (448, 448)
    blocks = np.kron(coarse > 0, np.ones((32, 32), bool))
    truth = disc(448) > 0
    drawn = binary_mask(coarse, "dog", 0.0, size).pixels
    assert (drawn != truth).mean() < (blocks != truth).mean() / 3


def test_the_score_is_the_mean_probability_inside() -> None:
    logits = np.full((4, 4), -3.0, np.float32)
    logits[1:3, 1:3] = 2.0
    assert binary_mask(logits, "dog", 0.0, (4, 4)).score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-4)


def test_classes_are_those_of_argmax() -> None:
    logits = np.random.default_rng(2).normal(size=(71, 12, 12)).astype(np.float32)
    size = (30, 18)
    large = np.stack([enlarged(one, size) for one in logits])
    winner = large.argmax(0)
    chance = np.exp(large).max(0) / np.exp(large).sum(0)
    masks = semantic_masks(logits, 1.0, size)
    assert [mask.class_index for mask in masks] == [index for index in np.unique(winner) if index]
    for mask in masks:
        assert np.array_equal(mask.pixels, winner == mask.class_index)
        assert mask.score == pytest.approx(chance[mask.pixels].mean(), abs=1e-3)
    assert {mask.label for mask in masks if mask.class_index == 70} <= {"woman"}


def generated(logits: object | None) -> Generated:
    return Generated("", (), extras={} if logits is None else {"mask_logits": logits})


@pytest.mark.parametrize(
    ("logits", "label", "expected", "problem"),
    [
        pytest.param(disc()[None], "dog", [("dog", True)], False, id="drawn"),
        pytest.param(torch.from_numpy(disc())[None], "dog", [("dog", True)], False, id="tensor"),
        pytest.param(None, "dog", [("dog", False)], True, id="no tokens"),
        pytest.param(None, "nothing", [("nothing", False)], False, id="nothing said, nothing drawn"),
        pytest.param(disc()[None], "nothing", [("nothing", False)], False, id="nothing said, something drawn"),
        pytest.param(-np.ones((1, 8, 8)), "dog", [("dog", False)], False, id="an empty mask"),
        pytest.param(np.eye(71)[0][:, None, None] * np.ones((71, 8, 8)), "dog", [("nothing", False)], False, id="bg"),
    ],
)
def test_every_moment_has_a_mask_or_an_empty_one(
    logits: object, label: str, expected: list[tuple[str, bool]], problem: bool
) -> None:
    masks, problems = masks_of(generated(logits), label, 2.0, (50, 40))
    assert [(mask.label, mask.area_px > 0) for mask in masks] == expected
    assert bool(problems) == problem and all(mask.size == (50, 40) for mask in masks)
