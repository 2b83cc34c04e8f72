"""Masks against the published formulas, written once more in torch threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crab_core.errors import UsageError
from crab_core.evaluate import masks, semantic
from crab_core.evaluate.bootstrap import score

SIDE = 24


def frames(seed: int, number: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities and truths (N, H, W); the truth of frame 1 is empty."""
    made = torch.Generator().manual_seed(seed)
    told = torch.sigmoid(3 * torch.randn(number, SIDE, SIDE, generator=made))
    true = torch.rand(number, SIDE, SIDE, generator=made) > 0.7
    true[1] = False
    return told, true


def curve_by_loop(told: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """(255,): for each threshold precision and recall of the pixels at or above it."""
    values = []
    for threshold in torch.linspace(0, 1 - 1e-10, 255):
        above = (told >= threshold).float()
        hits = (above * true).sum()
        precision, recall = hits / (above.sum() + 1e-20), hits / (true.sum() + 1e-20)
        value = 1.3 * precision * recall / (0.3 * precision + recall)
        values.append(0.0 if torch.isnan(value) else float(value))
    return torch.tensor(values, dtype=torch.float64)


def rows(seed: int = 1) -> tuple[list[masks.MaskRow], torch.Tensor, torch.Tensor]:
    told, true = frames(seed)
    return [masks.measure("a", t.numpy(), g.numpy()) for t, g in zip(told, true, strict=True)], told, true


def test_iou_is_the_published_formula():
    measured, told, true = rows()
    pred, target = (told > 0.5).int(), true.int()
    inter, union = (pred * target).sum((1, 2)), torch.max(pred, target).sum((1, 2))
    empty = target.sum((1, 2)) == 0
    inter[empty] = ((1 - target) * (1 - pred)).sum((1, 2))[empty]
    union[empty] = SIDE * SIDE
    expected = float((inter.double() / (union + 1e-7)).mean())
    assert masks.mean_iou(measured).value == pytest.approx(expected, abs=1e-9)


def test_f_per_frame_takes_the_best_of_each_frame_and_zero_where_nothing_is_true():
    measured, told, true = rows()
    best = [float(curve_by_loop(t, g).max()) if g.any() else 0.0 for t, g in zip(told, true, strict=True)]
    assert masks.frame_f(measured).value == pytest.approx(np.mean(best), abs=1e-6)


def test_f_per_video_takes_the_best_of_the_mean_curve_over_frames_with_a_truth():
    measured, told, true = rows()
    curves = [curve_by_loop(t, g) for t, g in zip(told, true, strict=True) if g.any()]
    assert masks.video_f(measured).value == pytest.approx(float(torch.stack(curves).mean(0).max()), abs=1e-6)


def test_f_per_frame_is_never_below_f_per_video_where_all_frames_have_a_truth():
    measured = [row for row in rows()[0] if row.true]
    assert masks.frame_f(measured).value >= masks.video_f(measured).value


def test_videos_weigh_the_same_however_many_frames_they_have():
    truth = np.ones((4, 4), dtype=bool)
    good, bad = np.ones((4, 4), dtype=np.float32), np.zeros((4, 4), dtype=np.float32)
    made = [masks.measure("a", good, truth)] + [masks.measure("b", bad, ~truth) for _ in range(9)]
    assert masks.video_f(made).value == pytest.approx(0.5)
    assert masks.frame_f(made).value == pytest.approx(0.1)


def test_trivial_baselines_are_what_measuring_them_gives():
    told, true = frames(4)
    for guess, baseline in ((np.zeros, masks.nothing), (np.ones, masks.everything)):
        for t, g in zip(told, true, strict=True):
            made = baseline(masks.measure("a", t.numpy(), g.numpy()))
            expected = masks.measure("a", guess((SIDE, SIDE), dtype=np.float32), g.numpy())
            assert (made.told, made.shared, made.iou) == (expected.told, expected.shared, expected.iou)
            assert made.curve == pytest.approx(expected.curve, abs=1e-12)


def plain(inside: list[int], size: int = 10) -> np.ndarray:
    made = np.zeros((1, size), dtype=bool)
    made[0, inside] = True
    return made


@pytest.mark.parametrize(
    ("told", "true", "published", "strict", "binary_f"),
    [
        pytest.param([0, 1], [1, 2], 1 / 3, 1 / 3, 0.5, id="one of two"),
        pytest.param([], [], 1.0, 1.0, 1.0, id="both empty"),
        pytest.param([0, 1], [], 0.8, 0.0, 0.0, id="told where nothing is"),
        pytest.param([], [0, 1], 0.0, 0.0, 0.0, id="nothing told"),
    ],
)
def test_empty_masks_by_hand(told, true, published, strict, binary_f):
    made = masks.measure("a", plain(told).astype(np.float32), plain(true))
    assert (made.iou, made.strict_iou, made.binary_f) == pytest.approx((published, strict, binary_f), abs=1e-6)


def test_the_size_where_nothing_is_to_be_found():
    made = [masks.measure("a", plain(told).astype(np.float32), plain([])) for told in ([0, 1], [], list(range(10)))]
    assert masks.null_size(made).value == pytest.approx((0.2**0.5 + 0 + 1) / 3)
    assert masks.null_ratio(made).value == pytest.approx((0.25**0.5 + 0) / 2)


def test_shapes_that_differ_are_told():
    with pytest.raises(UsageError, match=r"\(2, 2\) pixels does not fit the truth's \(3, 2\)"):
        masks.measure("a", np.zeros((2, 2), dtype=np.float32), np.zeros((3, 2), dtype=bool))


def semantic_by_torch(told: torch.Tensor, true: torch.Tensor, classes: int) -> tuple[torch.Tensor, ...]:
    """Sums of IoU and F by class and the number of frames with the class, as AVSBench accumulates them."""
    ious, fs, seen = (torch.zeros(classes, dtype=torch.float64) for _ in range(3))
    for pred, target in zip(told + 1, true + 1, strict=True):
        same = pred * (pred == target)
        inter, p, g = (torch.histc(x.float(), classes, 1, classes).double() for x in (same, pred, target))
        union = p + g - inter
        ious += inter / (2.220446049250313e-16 + union)
        seen[union > 0] += 1
        precision, recall = inter / p, inter / g
        f = 1.3 * precision * recall / (0.3 * precision + recall)
        f[torch.isnan(f)] = 0
        fs += f
    return ious, fs, seen


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(5)
    true = torch.randint(0, 12, (6, SIDE, SIDE), generator=made)
    told = torch.where(torch.rand(6, SIDE, SIDE, generator=made) < 0.6, true, (true + 1) % 13)
    true[0][true[0] == 3] = 70
    return told, true


def test_semantic_scores_are_the_published_formula(maps):
    told, true = maps
    made = [semantic.measure(str(n), t.numpy(), g.numpy()) for n, (t, g) in enumerate(zip(told, true, strict=True))]
    ious, fs, seen = semantic_by_torch(told, true, 71)
    iou, f = (torch.nan_to_num(one / seen) for one in (ious, fs))
    assert semantic.over_classes(made, "iou").value == pytest.approx(float(iou.mean()), abs=1e-9)
    assert semantic.over_classes(made, "f").value == pytest.approx(float(f.mean()), abs=1e-9)
    wrong, right = (
        semantic.over_classes(made, "iou", over).value for over in ("published_no_background", "no_background")
    )
    assert wrong == pytest.approx(float(iou[:-1].mean()), abs=1e-9)
    assert right == pytest.approx(float(iou[1:].mean()), abs=1e-9)
    present = semantic.over_classes(made, "iou", "present_no_background").value
    assert present == pytest.approx(float(iou[1:][seen[1:] > 0].mean()), abs=1e-9)


def test_the_published_mean_without_background_keeps_the_background():
    empty = np.zeros((4, 4), dtype=np.int64)
    made = [semantic.measure("a", empty, empty)]
    assert semantic.over_classes(made, "iou", "published_no_background").value == pytest.approx(1 / 70)
    assert semantic.over_classes(made, "iou", "no_background").value == 0.0


def test_an_index_beyond_the_classes_is_told():
    with pytest.raises(UsageError, match="class '71' is none of the 71"):
        semantic.measure("a", np.full((2, 2), 71), np.zeros((2, 2), dtype=np.int64))


def test_intervals_of_semantic_scores_hold_the_value(maps):
    told, true = maps
    made = [semantic.measure(str(n), t.numpy(), g.numpy()) for n, (t, g) in enumerate(zip(told, true, strict=True))]
    found = score(semantic.over_classes(made, "iou", "present"), draws=200)
    assert found.low < found.high and found.low <= found.value + 0.05 and found.clips == 6
