"""Boxes and points in the texts of Crab+: which belongs to which, the border, and what cannot be used."""

from __future__ import annotations

import pytest

from crab_core.tasks.places import points_of
from crab_core.tasks.sights import NOTHING, read_boxes, read_mask, read_referred
from crab_core.types import Box, Canvas, Point

TWICE = Canvas(10.0, size=(448, 224), model_size=(224, 224))
SAME = Canvas(10.0, size=(224, 224), model_size=(224, 224))
TEXT = "The object producing the sound is dog. Its box is [10,20,50,60] and its points are [20,30],[25,35],[30,40]."


def test_a_box_and_its_points_are_read_in_pixels_of_the_frame() -> None:
    reading = read_mask(TEXT, TWICE)
    assert reading.boxes == (Box("dog", 20, 20, 100, 60),)
    assert reading.points == (Point("dog", 40, 30), Point("dog", 50, 35), Point("dog", 60, 40))
    assert reading.answer is not None and reading.answer.text == "dog" and reading.problems == ()


def test_two_points_are_no_box() -> None:
    reading = read_boxes("The sounding object is dog. Its points are [10,20],[50,60].", SAME)
    assert reading.boxes == () and [(one.x, one.y) for one in reading.points] == [(10, 20), (50, 60)]


@pytest.mark.parametrize("numbers", ["[0,0,224,224]", "[200,0,224,10]"])
def test_a_box_that_touches_the_border_is_whole(numbers: str) -> None:
    reading = read_mask(f"The object making the sound is dog {numbers}", SAME)
    assert len(reading.boxes) == 1 and reading.problems == ()


def test_a_point_on_the_border_is_inside_and_one_beyond_is_told() -> None:
    reading = read_mask("The object making the sound is dog [224,0] [225,10]", SAME)
    assert [(one.x, one.y) for one in reading.points] == [(224, 0)]
    assert reading.problems == ("the point [225,10] lies outside the picture of 224 x 224",)


@pytest.mark.parametrize(
    ("text", "label", "boxes", "points"),
    [
        ("<answer>true</answer> It is a small dog, [1,2,30,40] [3,4],[5,6],[7,8]", "small dog", 1, 3),
        ("<answer>true</answer> [1,2,30,40]", "object", 1, 0),
        ("<answer>true</answer> The box is [1,2,30,40].", "object", 1, 0),
        ("<answer>true</answer>", "object", 0, 0),
        ("<answer>false</answer> [1,2,30,40]", NOTHING, 0, 0),
        ("The dog is absent. <answer>false</answer>", NOTHING, 0, 0),
    ],
)
def test_what_an_expression_means_and_where(text: str, label: str, boxes: int, points: int) -> None:
    reading = read_referred(text, SAME)
    assert reading.answer is not None and reading.answer.text == label
    assert (len(reading.boxes), len(reading.points)) == (boxes, points)


def test_what_is_placed_without_a_name_is_an_object() -> None:
    reading = read_mask("[1,2,30,40][3,4][5,6][7,8]", SAME)
    assert reading.answer is not None and reading.answer.text == "object"
    assert len(reading.boxes) == 1 and len(reading.points) == 3


def test_points_belong_to_their_box() -> None:
    left, right = Box("a", 0, 0, 10, 10), Box("b", 8, 0, 30, 10)
    points = [Point("a", 1, 1), Point("a", 9, 1), Point("a", 20, 5), Point("a", 40, 5)]
    assert points_of(left, [left, right], points) == (points[0],), "one in both belongs to neither"
    assert points_of(right, [left, right], points) == (points[2],)
    assert points_of(left, [left], points) == tuple(points[1:]), "the last three, as published"
