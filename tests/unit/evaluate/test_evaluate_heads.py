"""Statistics of head shares on rows whose truth is known by construction."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crab_core.engine.heads_row import HeadRow
from crab_core.evaluate.heads import by_task, costs, profiles, specialisation
from crab_core.evaluate.heads_statistics import statistics


def row(clip, task, shares, cost=(), kinds=("all",)):
    return HeadRow(clip, task, None, "", "", "used", {kind: tuple(shares) for kind in kinds}, tuple(cost))


def rows_of(clips, shares_of, seed=0, noise=0.02):
    """One row a clip and task, with the task's shares and a little noise."""
    random = np.random.default_rng(seed)
    found = []
    for clip in range(clips):
        for task, shares in shares_of.items():
            noisy = np.abs(np.array(shares) + random.normal(0, noise, len(shares)))
            found.append(row(str(clip), task, noisy / noisy.sum()))
    return found


OWN = {"ave": (1.0, 0.0), "avqa": (0.0, 1.0)}
ALIKE = {"ave": (0.5, 0.5), "avqa": (0.5, 0.5)}


def test_a_head_of_its_own_for_each_task_is_all_the_information_there_is():
    found = specialisation(rows_of(10, OWN, noise=0))
    assert found.bits.value == pytest.approx(1.0)
    assert (found.bits.low, found.bits.high, found.most) == (pytest.approx(1), pytest.approx(1), 1)
    assert found.is_beyond_chance
    assert found.chance < 0.3


def test_heads_that_all_tasks_use_alike_tell_nothing():
    found = specialisation(rows_of(20, ALIKE))
    assert found.bits.value < 0.001
    assert not found.is_beyond_chance
    assert specialisation(rows_of(20, ALIKE, noise=0)).bits.value == 0


def test_a_small_difference_on_many_clips_is_small_and_yet_beyond_chance():
    found = specialisation(rows_of(30, {"ave": (0.55, 0.45), "avqa": (0.45, 0.55)}))
    assert found.is_beyond_chance
    assert found.bits.low <= found.bits.value <= found.bits.high < 0.05
    assert found.bits.value > found.chance_high > found.chance


def test_information_by_hand():
    # shares .75 and .25: 1 - H(.75) bits
    found = specialisation(rows_of(4, {"a": (0.75, 0.25), "b": (0.25, 0.75)}, noise=0))
    assert found.bits.value == pytest.approx(1 + 0.75 * np.log2(0.75) + 0.25 * np.log2(0.25))


def test_clips_of_one_task_each_are_dealt_out_between_clips():
    rows = [row(f"{task}{n}", task, shares) for task, shares in OWN.items() for n in range(8)]
    assert specialisation(rows).is_beyond_chance
    mixed = [row(str(n), "ave" if n % 2 else "avqa", OWN["ave"] if n % 4 < 2 else OWN["avqa"]) for n in range(16)]
    assert not specialisation(mixed).is_beyond_chance


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(rows_of(4, {"ave": (0.5, 0.5)}), id="one-task"),
        pytest.param(rows_of(4, {"ave": (1.0,), "avqa": (1.0,)}), id="one-head"),
        pytest.param([], id="nothing"),
    ],
)
def test_where_there_is_nothing_to_tell_apart_there_is_no_index(rows):
    assert specialisation(rows) is None
    json.dumps(statistics(rows), allow_nan=False)


def test_profiles_are_means_with_intervals_by_clip():
    rows = rows_of(12, {"ave": (0.6, 0.4), "avqa": (0.5, 0.5)})
    ave, avqa = profiles(rows)
    assert (ave.task, avqa.task, ave.clips) == ("ave", "avqa", 12)
    for number, one in enumerate(ave.heads):
        assert one.value == pytest.approx(np.mean([r.shares["all"][number] for r in rows if r.task == "ave"]))
        assert one.low < one.value < one.high
    assert sum(one.value for one in ave.heads) == pytest.approx(1)


def test_many_answers_about_one_clip_do_not_make_the_interval_narrow():
    one = profiles([row(str(clip), "avqa", (0.4 + 0.2 * (clip % 2), 0.6 - 0.2 * (clip % 2))) for clip in range(6)])[0]
    many = profiles(
        [
            row(str(clip), "avqa", (0.4 + 0.2 * (clip % 2), 0.6 - 0.2 * (clip % 2)))
            for clip in range(6)
            for _ in range(9)
        ]
    )[0]
    assert many.clips == one.clips == 6
    assert (many.heads[0].low, many.heads[0].high) == pytest.approx((one.heads[0].low, one.heads[0].high))


def test_answers_with_names_of_their_own_about_one_file_stand_together():
    """As the rows of a table have them: `a.mp4` and `a.mp4#2`."""
    rows = [
        replace(row(f"{clip}.mp4{more}", task, shares), path=f"/clips/{clip}.mp4")
        for clip in range(4)
        for more, (task, shares) in zip(("", "#2"), OWN.items(), strict=True)
    ]
    assert [one.clips for one in profiles(rows)] == [4, 4]
    together = [replace(one, clip=one.clip.removesuffix("#2"), path="") for one in rows]
    assert specialisation(rows) == specialisation(together)
    assert {task: len(points) for task, points in by_task([*rows, *rows]).items()} == {"ave": 4, "avqa": 4}


def test_costs_have_one_more_column_for_no_head_and_leave_out_rows_without():
    rows = [row("a", "ave", (0.5, 0.5), (0.1, 0.2, 0.9)), row("b", "ave", (0.5, 0.5))]
    (found,) = costs(rows)
    assert [one.value for one in found.heads] == [0.1, 0.2, 0.9]
    assert found.clips == 1
    assert costs(rows[1:]) == []


def test_a_kind_of_token_that_some_answers_lack():
    rows = [row("a", "ave", (0.5, 0.5), kinds=("all", "audio")), row("b", "avqa", (0.4, 0.6))]
    assert [one.task for one in profiles(rows, "audio")] == ["ave"]
    assert specialisation(rows, "audio") is None


def test_the_points_of_a_scatter_are_clips():
    rows = [row("a", "avqa", (0.2, 0.8)), row("a", "avqa", (0.4, 0.6)), row("b", "avqa", (0.5, 0.5))]
    np.testing.assert_allclose(by_task(rows)["avqa"], [(0.3, 0.7), (0.5, 0.5)])


def test_a_row_goes_through_json():
    one = row("a", "ave", (0.25, 0.75), (0.1, 0.2, 0.3), kinds=("all", "video"))
    assert HeadRow.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    one = replace(one, even_cost=0.5, routers=("a", "b"), by_router={"all": ((0.5, 0.5), (1.0, 0.0))})
    assert HeadRow.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    wrong = {"shares": {"video": [1]}}, {"more": 1}, {"routers": ["a"]}
    for bad in ({"schema": "other"}, *({**one.to_dict(), **change} for change in wrong)):
        with pytest.raises(ValueError, match="row"):
            HeadRow.from_dict(bad)
