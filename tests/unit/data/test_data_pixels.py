"""Masks, class maps and probabilities from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crab_core.data.pixels import class_map, mask_pixels, probabilities, resized
from crab_core.data.sample import MaskRef
from crab_core.errors import InputError
from crab_core.render.palette import class_colours as render_colours
from crab_core.types import Mask

INDICES = np.arange(12, dtype=np.uint8).reshape(3, 4) * 5


def test_class_maps_are_indices_of_grey_and_palette_pictures(tmp_path: Path):
    Image.fromarray(INDICES).save(tmp_path / "grey.png")
    palette = Image.fromarray(INDICES, "P")
    palette.putpalette([255 - n % 256 for n in range(768)])
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert np.array_equal(class_map(tmp_path / name), INDICES)


def test_a_map_in_the_colours_of_classes_is_read_as_their_numbers(tmp_path: Path):
    colours = np.array(render_colours(71), np.uint8)
    for mode in ("RGB", "RGBA"):
        Image.fromarray(colours[INDICES]).convert(mode).save(tmp_path / "c.png")
        assert np.array_equal(class_map(tmp_path / "c.png"), INDICES)


def test_a_colour_of_no_class_is_told(tmp_path: Path):
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "c.png")
    with pytest.raises(InputError, match=r"the colour \(1, 2, 3\), which is none of the 71"):
        class_map(tmp_path / "c.png")


def test_a_mask_is_what_is_above_zero_in_any_colour(tmp_path: Path):
    pixels = np.zeros((3, 4, 3), dtype=np.uint8)
    pixels[1, 2] = (0, 0, 7)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    expected = pixels.any(axis=-1)
    assert np.array_equal(mask_pixels(MaskRef(file="m.png"), tmp_path), expected)
    rle = Mask.of("", 0.0, expected).to_rle()
    assert np.array_equal(mask_pixels(MaskRef(rle=rle), tmp_path), expected)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_broken_picture_is_told(tmp_path: Path, content: bytes):
    (tmp_path / "m.png").write_bytes(content)
    with pytest.raises(InputError, match=r"m\.png.* no picture"):
        mask_pixels(MaskRef(file="m.png"), tmp_path)
    with pytest.raises(InputError, match=r"m\.png.* no picture"):
        class_map(tmp_path / "m.png")


def test_probabilities_from_arrays_and_grey_pictures(tmp_path: Path):
    values = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.save(tmp_path / "p.npy", values)
    Image.fromarray((values * 65535).astype(np.uint16)).save(tmp_path / "p.png")
    assert np.array_equal(probabilities(tmp_path / "p.npy"), values)
    assert probabilities(tmp_path / "p.png") == pytest.approx(values, abs=1e-4)


@pytest.mark.parametrize(
    "values", [np.full((2, 2), 1.5), np.zeros((2, 2), dtype=int), np.zeros(4), np.full((2, 2), np.nan)]
)
def test_arrays_that_are_no_probabilities_are_told(tmp_path: Path, values: np.ndarray):
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(InputError, match="floats from 0 to 1"):
        probabilities(tmp_path / "p.npy")


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path):
    np.save(tmp_path / "p.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        probabilities(tmp_path / "p.npy")


def test_resizing_takes_the_nearest_pixel():
    made = resized(np.array([[1, 2], [3, 4]]), 4)
    assert made.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
