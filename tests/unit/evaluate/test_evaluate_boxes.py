"""Boxes against hand-worked numbers and against counting pixels one by one."""

from __future__ import annotations

import random

import pytest

from crab_core.errors import UsageError
from crab_core.evaluate import boxes
from crab_core.evaluate.boxes import BoxRow
from crab_core.types import Box

SIZE = (224, 224)


def box(x0, y0, x1, y1, label="dog") -> Box:
    return Box(label, x0, y0, x1, y1)


def row(told, true, clip="a", size=SIZE) -> BoxRow:
    return BoxRow(clip, size, tuple(told), tuple(true))


def counted(told, true) -> float:
    """cIoU by walking over every pixel, as the formula reads."""
    above = below = 0
    for y in range(224):
        for x in range(224):
            p, g = (any(b.x0 <= x < b.x1 and b.y0 <= y < b.y1 for b in found) for found in (told, true))
            above += p and g
            below += g or p
    return above / below


@pytest.mark.parametrize(
    ("told", "true", "value"),
    [
        pytest.param([box(0, 0, 20, 10)], [box(0, 0, 20, 10)], 1.0, id="the same box"),
        pytest.param([box(0, 0, 20, 10)], [box(10, 0, 30, 10)], 1 / 3, id="half shared"),
        pytest.param([box(0, 0, 10, 10)], [box(50, 50, 60, 60)], 0.0, id="apart"),
        pytest.param([box(0, 0, 10, 10), box(10, 0, 20, 10)], [box(0, 0, 20, 10)], 1.0, id="two halves told"),
        pytest.param([], [box(0, 0, 10, 10)], 0.0, id="nothing told"),
        pytest.param([box(0, 0, 10, 10)], [], 0.0, id="told where nothing sounds"),
        pytest.param([], [], 1.0, id="nothing to find and nothing told"),
    ],
)
def test_ciou_by_hand(told, true, value):
    assert boxes.consensus(row(told, true)) == pytest.approx(value, abs=1e-9)


def test_ciou_equals_counting_pixels():
    rng = random.Random(3)
    for _ in range(4):
        made = []
        for _ in range(4):
            x, y = rng.randrange(180), rng.randrange(180)
            made.append(box(x, y, x + rng.randrange(10, 44), y + rng.randrange(10, 44)))
        assert boxes.consensus(row(made[:2], made[2:])) == pytest.approx(counted(made[:2], made[2:]), abs=1e-12)


def test_a_frame_of_another_size_is_scored_on_the_same_grid():
    small = row([box(0, 0, 112, 224)], [box(0, 0, 168, 224)])
    large = row([box(0, 0, 640, 720)], [box(0, 0, 960, 720)], size=(1280, 720))
    assert boxes.consensus(small) == boxes.consensus(large) == pytest.approx(2 / 3)


def test_success_and_area_by_hand():
    # cIoU 1, 1/2, 1/3 and 0: two of four reach 0.5; the rates at 0, .05, ... are 1, 3/4 to .30, 1/2 to .50, 1/4 to 1
    true = [box(0, 0, 60, 10)]
    rows = [row([box(0, 0, end, 10)], true, clip=str(end)) for end in (60, 30, 20)] + [row([], true, clip="none")]
    assert boxes.success_rate(rows).value == 0.5
    rates = [1.0, *[0.75] * 6, *[0.5] * 4, *[0.25] * 10]
    trapezoid = sum((one + other) / 2 * 0.05 for one, other in zip(rates, rates[1:], strict=False))
    assert boxes.area_under_curve(rows).value == pytest.approx(trapezoid, abs=1e-12)


def test_pointing_takes_the_middle_of_the_first_box():
    true = [box(0, 0, 100, 100)]
    rows = [row([box(80, 80, 110, 110), box(0, 0, 9, 9)], true), row([box(90, 90, 120, 120)], true), row([], true)]
    assert boxes.pointing(rows).value == pytest.approx(1 / 3)
    assert boxes.pointing([row([], [])]).value == 1.0


def test_the_right_place_under_a_wrong_name_is_no_class_aware_success():
    wrong = row([box(0, 0, 50, 50, "cat")], [box(0, 0, 50, 50, "dog")])
    mixed = row(
        [box(0, 0, 50, 50, "Dog"), box(60, 0, 90, 50, "bird")],
        [box(0, 0, 50, 50, "dog"), box(60, 0, 90, 50, "cat")],
    )
    assert boxes.success_rate([wrong]).value == 1.0
    assert boxes.class_aware_rate([wrong]).value == 0.0
    assert boxes.class_aware(mixed) == 0.5


def test_mean_iou_pairs_the_best_and_counts_the_rest():
    true = [box(0, 0, 10, 10), box(100, 100, 120, 110)]
    told = [box(110, 100, 130, 110), box(0, 0, 10, 10), box(200, 200, 210, 210)]
    assert boxes.mean_iou([row(told, true)]).value == pytest.approx((1 + 1 / 3) / 3)


def test_box_iou_is_of_areas_not_pixels():
    assert boxes.box_iou(box(0, 0, 1.5, 1), box(0.5, 0, 2, 1)) == pytest.approx(0.5)


def test_no_rows_is_an_error():
    with pytest.raises(UsageError, match="nothing to score"):
        boxes.success_rate([])
