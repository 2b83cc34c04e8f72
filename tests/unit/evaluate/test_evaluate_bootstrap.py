"""Intervals by clip, and the baselines."""

from __future__ import annotations

import numpy as np
import pytest

from crab_core.errors import UsageError
from crab_core.evaluate.baselines import fit_majority, nothing, whole_clip
from crab_core.evaluate.bootstrap import Counts, counts, score
from crab_core.evaluate.localization import second_accuracy
from crab_core.evaluate.rows import EventRow, QaRow
from crab_core.types import Event


def coins(clips: int, rows_per_clip: int = 1) -> Counts:
    """Half of the clips right, half wrong, every row of a clip alike."""
    names = [str(number) for number in range(clips) for _ in range(rows_per_clip)]
    return counts("share", names, [(int(name) % 2, 1) for name in names])


def test_the_interval_of_a_share_is_the_binomial_one():
    found = score(coins(400), draws=4000)
    half = 1.96 * np.sqrt(0.25 / 400)  # normal approximation
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - half, abs=0.006)
    assert found.high == pytest.approx(0.5 + half, abs=0.006)
    assert (found.rows, found.clips) == (400, 400)


def test_more_questions_on_the_same_clips_do_not_narrow_the_interval():
    few, many = score(coins(100)), score(coins(100, rows_per_clip=20))
    assert (many.low, many.high) == pytest.approx((few.low, few.high))
    assert (many.rows, many.clips) == (2000, 100)


def test_the_order_of_rows_does_not_matter():
    given = coins(40, rows_per_clip=3)
    order = np.random.default_rng(1).permutation(len(given.clips))
    shuffled = counts("share", [given.clips[number] for number in order], given.table[order].tolist())
    assert score(shuffled) == score(given)


def test_the_seed_decides_the_draws():
    assert score(coins(50), seed=3) == score(coins(50), seed=3)
    assert score(coins(50), seed=3) != score(coins(50), seed=4)


@pytest.mark.parametrize(
    ("formula", "table", "expected"),
    [
        pytest.param("share", [(1, 1), (1, 1)], 1.0, id="all right"),
        pytest.param("f1", [(2, 1, 1), (4, 1, 1)], 12 / 16, id="f1 adds up"),
        pytest.param("f1", [(0, 0, 0), (0, 0, 0)], 1.0, id="nothing to find"),
        pytest.param("f1", [(0, 3, 0), (0, 0, 2)], 0.0, id="no hit"),
    ],
)
def test_value_of_sums(formula, table, expected):
    found = score(counts(formula, ["a", "b"], table))
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high


def test_a_table_must_fit_its_formula():
    with pytest.raises(ValueError, match=r"a f1 of 1 rows cannot have a table \(1, 2\)"):
        counts("f1", ["a"], [(1, 1)])


def test_majority_is_taken_per_template():
    majority = fit_majority([("count", "two"), ("count", "2"), ("count", "1"), ("where", "left"), ("where", "right")])
    assert majority.answer("count") == "2"
    assert majority.answer("where") == "left"  # of equals the first in the alphabet
    assert majority.answer("never seen") == "2"  # two votes of five, the most of all
    rows = [QaRow("a", "where", "location", "visual", "right", "right")]
    assert [row.predicted for row in majority.rows(rows)] == ["left"]
    assert rows[0].predicted == "right"


def test_majority_of_nothing_is_refused():
    with pytest.raises(UsageError, match="needs training answers"):
        fit_majority([])


def test_whole_clip_knows_labels_but_not_times():
    truth = (Event("dog", 1, 3, "audio"), Event("dog", 5, 6, "audio"), Event("dog", 1, 3, "visual"))
    told = whole_clip([EventRow("a", 7, (), truth), EventRow("b", 5, (Event("cat", 0, 1),), ())])
    assert told[0].predicted == (Event("dog", 0, 7, "audio"), Event("dog", 0, 7, "visual"))
    assert told[1].predicted == ()
    assert told[0].truth == truth


def test_nothing_is_right_in_the_background():
    rows = nothing([EventRow("a", 10, (Event("dog", 0, 3),), (Event("dog", 0, 3),))])
    assert rows[0].predicted == ()
    assert second_accuracy(rows).value == 0.7
