"""A mask is kept as COCO's run lengths, reads the same everywhere, and refuses run lengths that fill no frame."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco

from crab_core.types import Mask, Result, _runs, heat_of


def shape(kind: str) -> np.ndarray:
    """(H, W) of a few hard kinds."""
    rng = np.random.default_rng(0)
    blob = np.add.outer((np.arange(97) - 40) ** 2, (np.arange(61) - 30) ** 2) < 700
    return {
        "empty": np.zeros((7, 5), bool),
        "full": np.ones((7, 5), bool),
        "one pixel": np.arange(35).reshape(7, 5) == 34,
        "noise": rng.random((48, 64)) < 0.5,
        "blob": blob,
        "large": np.kron(blob, np.ones((20, 30), bool)),
    }[kind]


KINDS = ["empty", "full", "one pixel", "noise", "blob", "large"]


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_survive_and_pycocotools_agrees(kind: str) -> None:
    pixels = shape(kind)
    mask = Mask.of("dog", 2.0, pixels, 0.75)
    assert np.array_equal(mask.pixels, pixels) and mask.size == (pixels.shape[1], pixels.shape[0])
    assert np.array_equal(coco.decode(mask.to_rle()), pixels)
    assert mask.area_px == int(pixels.sum()) == int(coco.area(mask.to_rle()))
    assert _runs(mask.counts)[0::2] and sum(_runs(mask.counts)) == pixels.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_survives_json(kind: str) -> None:
    mask = Mask.of("class 23", 1.5, shape(kind), 0.5, 23)
    assert Mask.from_dict(json.loads(json.dumps(mask.to_dict()))) == mask


def test_the_box_of_a_mask_holds_it() -> None:
    pixels = np.zeros((10, 20), bool)
    pixels[3:5, 7:16] = True
    assert Mask.of("dog", 0.0, pixels).box == (7, 3, 16, 5)
    assert Mask.of("dog", 0.0, np.zeros((10, 20), bool)).box is None


@pytest.mark.parametrize(
    "counts", ["", "0", "zzzz", "\xff\xfe", "é", "P" * 80, "d024000", "0`", "\x00"], ids=lambda text: ascii(text)[:8]
)
def test_run_lengths_that_fill_no_frame_are_refused(counts: str) -> None:
    with pytest.raises(ValueError, match="no mask of 8 x 6 pixels"):
        Mask("dog", 0.0, (8, 6), counts)


def test_a_result_carries_its_masks_through_json() -> None:
    masks = (Mask.of("dog", 0.0, shape("blob"), 0.9), Mask.of("nothing", 1.0, shape("empty")))
    result = Result("a", "m", "s4", None, None, (), (), "text", "used", 2.0, 0.1, masks=masks)
    document = json.loads(json.dumps(result.to_dict()))
    assert Result.from_dict(document).masks == masks
    assert document["masks"][0]["rle"] == masks[0].to_rle() and document["masks"][0]["area_px"] == masks[0].area_px


def test_a_result_written_before_there_were_masks_is_read() -> None:
    document = Result("a", "m", "avqa", None, None, (), (), "text", "used", 2.0, 0.1).to_dict()
    del document["masks"]
    assert Result.from_dict(document).masks == ()


def test_likelihoods_survive_and_torn_ones_are_told() -> None:
    grid = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    mask = replace(Mask.of("dog", 1.0, np.ones((5, 6), bool)), heat=heat_of(grid))
    again = Mask.from_dict(mask.to_dict())
    assert again == mask and again.likelihood is not None and (again.likelihood == grid).all()
    assert Mask.of("dog", 1.0, np.ones((5, 6), bool)).likelihood is None
    for torn in ("3x4:", "3x4:AAAA", "9999999x9999999:AAAA", "nonsense", heat_of(grid)[:-8]):
        with pytest.raises(ValueError, match="no grid of likelihoods"):
            _ = replace(mask, heat=torn).likelihood
