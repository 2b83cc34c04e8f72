"""Marks over clips of any size: frames keep one even size, marks stand where their pixels are, names do not overlap."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from crab_core.render.canvas import Canvas
from crab_core.render.marks import colours_of, marks_of
from crab_core.render.palette import class_colours, index_picture, numbers_of, palette_png
from crab_core.render.scenes import Scene, contact_sheet, events_of
from crab_core.render.timeline import strip_of
from crab_core.types import Box, Event, Mask, Result

SIZES = [(64, 48), (2, 2), (224, 224), (1920, 1080), (3840, 2160), (360, 640), (1000, 30)]


def mask(label: str, at_s: float, size: tuple[int, int], part: tuple[slice, slice] | None = None) -> Mask:
    pixels = np.zeros((size[1], size[0]), bool)
    if part is not None:
        pixels[part] = True
    return Mask.of(label, at_s, pixels, 0.9)


def scene(size: tuple[int, int], masks: tuple[Mask, ...] = (), boxes: tuple[Box, ...] = ()) -> Scene:
    result = Result(
        "clip", "fake", "ms3", None, None, (), boxes, "", "used", 3.0, 0.0, masks=masks
    )  # fmt: skip
    return Scene.of(result, size, None, 1.0)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_frame_has_one_even_size_whatever_is_marked(size: tuple[int, int]) -> None:
    half = (slice(0, max(1, size[1] // 2)), slice(0, max(1, size[0] // 2)))
    drawn = scene(size, (mask("a very long name of a thing", 0.0, size, half), mask("nothing", 1.0, size)))
    grey = np.full((size[1], size[0], 3), 128, np.uint8)
    shapes = {drawn.frame(grey, now_s).shape for now_s in (0.0, 0.5, 1.0, 2.9, 3.4)}
    assert len(shapes) == 1
    height, width, _ = shapes.pop()
    assert width % 2 == height % 2 == 0 and 320 <= width <= 1920


def test_marks_hold_for_their_time_and_stand_on_their_pixels() -> None:
    size = (400, 400)
    drawn = scene(size, (mask("dog", 1.0, size, (slice(100, 300), slice(100, 300))),))
    grey = np.full((400, 400, 3), 128, np.uint8)
    before, during = drawn.frame(grey, 0.9)[:400], drawn.frame(grey, 1.9)[:400]
    assert (before == 128).all(), "nothing is marked before"
    assert (during[200, 200] != 128).any() and (during[390, 390] == 128).all()
    assert (drawn.frame(grey, 2.1)[:400] == 128).all(), "nor after it was held"


def test_names_of_marks_do_not_overlap() -> None:
    size = (640, 360)
    boxes = [Box(f"thing {number}", 100, 100, 300, 200) for number in range(6)]
    canvas = Canvas.of(size)
    marks = marks_of([], boxes, colours_of(box.label for box in boxes), size, canvas)
    places = [mark.tag.place for mark in marks if mark.tag is not None]
    assert len(places) == 6
    for number, (x, y, width, height) in enumerate(places):
        assert x >= 0 and y >= 0 and x + width <= canvas.size[0] and y + height <= canvas.size[1]
        for other in places[:number]:
            assert y >= other[1] + other[3] or other[1] >= y + height


def test_labels_have_colours_of_their_own_until_there_are_more_than_eight() -> None:
    assert len(set(colours_of("abcdefgh").values())) == 8
    assert len(colours_of("abcdefghij")) == 10


def test_a_sheet_takes_at_most_24_pictures_and_tells_what_each_shows() -> None:
    size = (120, 90)
    masks = tuple(mask("dog", float(at), size, (slice(0, 40), slice(0, 40))) for at in range(60))
    frames = [(float(at), np.zeros((90, 120, 3), np.uint8)) for at in range(60)]
    few = contact_sheet(scene(size, masks[:2]), frames[:2], "a.mp4")
    many = contact_sheet(scene(size, masks), frames, "a.mp4", "ms3 by fake")
    assert many.shape[1] <= 1600 and many.shape[0] < 20 * few.shape[0]


def test_names_of_short_events_stand_beside_all_bars_of_their_lane() -> None:
    events = tuple(Event("a rather long name", at, at + 1.0) for at in (2.0, 4.0, 6.0))
    bare = strip_of(400, 13, 10.0, None, tuple(Event("", one.start_s, one.end_s) for one in events), {"": (0, 0, 250)})
    named = strip_of(400, 13, 10.0, None, events, {"a rather long name": (0, 0, 250)})
    bars = (bare.picture == (0, 0, 250)).all(-1)
    assert bars.any() and (named.picture[bars] == (0, 0, 250)).all(), "no name covers a bar"
    assert (named.picture != bare.picture).any(), "and it is written"


def test_moments_in_a_row_are_one_event() -> None:
    size = (10, 10)
    whole = (slice(0, 5), slice(0, 5))
    masks = {at: [mask("dog", at, size, whole)] for at in (0.0, 1.0, 4.0)} | {2.0: [mask("dog", 2.0, size)]}
    spans = [(one.start_s, one.end_s) for one in events_of(masks, {}, 1.0, 4.5)]
    assert spans == [(0.0, 2.0), (4.0, 4.5)]


def test_small_masks_stand_on_large_ones_in_the_numbers() -> None:
    size = (20, 20)
    large, small = mask("a", 0, size, (slice(0, 20), slice(0, 20))), mask("b", 0, size, (slice(5, 9), slice(5, 9)))
    numbers = numbers_of([small, large])
    picture = index_picture([small, large], numbers, size)
    assert numbers == {"b": 1, "a": 2}
    assert (picture == 1).sum() == 16 and (picture == 2).sum() == 400 - 16


def test_a_palette_picture_is_read_as_it_was_written() -> None:
    picture = np.arange(71, dtype=np.uint8)[None].repeat(3, 0)
    with Image.open(io.BytesIO(palette_png(picture, class_colours()))) as read:
        assert read.mode == "P" and (np.array(read) == picture).all()
        palette = read.getpalette()
    # worked by hand: 1 sets the highest bit of red, 2 of green, 3 of both, 8 the next bit of red
    assert palette is not None
    told = [tuple(palette[3 * index : 3 * index + 3]) for index in (0, 1, 2, 3, 8, 70)]
    assert told[:5] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (64, 0, 0)]
    assert len({tuple(palette[3 * index : 3 * index + 3]) for index in range(71)}) == 71
