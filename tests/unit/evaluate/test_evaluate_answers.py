"""Accuracy of answers against counts made by hand."""

from __future__ import annotations

import pytest

from crab_core.errors import UsageError
from crab_core.evaluate.answers import accuracy, groups
from crab_core.evaluate.rows import QaRow, check_pairs, normalise


def row(predicted: str, truth: str, clip: str = "a", template: str = "t", kind: str = "counting", modality="audio"):
    return QaRow(clip, template, kind, modality, predicted, truth)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("Yes", "yes", id="lower case"),
        pytest.param("  yes.\n", "yes", id="space and full stop"),
        pytest.param("The two violins", "2 violins", id="article and number word"),
        pytest.param("twenty", "20", id="largest number word"),
        pytest.param("more than ten", "more than 10", id="more than ten"),
        pytest.param("acoustic_guitar", "acoustic guitar", id="underscore"),
        pytest.param("it's loud!", "its loud", id="apostrophe"),
        pytest.param("a", "a", id="an answer that is an article stays"),
        pytest.param("", "", id="empty"),
        pytest.param("?!", "", id="nothing but marks"),
    ],
)
def test_normalise(raw, expected):
    assert normalise(raw) == expected
    assert normalise(normalise(raw)) == expected


@pytest.mark.parametrize(
    ("predicted", "truth", "right"),
    [("2", "two", True), ("A dog", "dog", True), ("dogs", "dog", False), ("", "no", False), ("left", "right", False)],
)
def test_a_row_is_right(predicted, truth, right):
    assert row(predicted, truth).is_right is right


def test_accuracy_counts_rows():
    assert accuracy([row("yes", "yes"), row("no", "yes"), row("1", "one")]).value == pytest.approx(2 / 3)


def test_accuracy_of_nothing_is_refused():
    with pytest.raises(UsageError, match="nothing to score"):
        accuracy([])


def test_groups_hold_each_row_once_a_heading():
    rows = [
        row("1", "1", kind="counting", modality="audio", template="how_many"),
        row("1", "2", kind="location", modality="visual", template="where"),
        row("1", "1", kind="counting", modality="visual", template="how_many"),
    ]
    assert groups(rows) == {
        "all": [0, 1, 2],
        "type counting": [0, 2],
        "type location": [1],
        "modality audio": [0],
        "modality visual": [1, 2],
        "audio, counting": [0],
        "visual, counting": [2],
        "visual, location": [1],
        "template how_many": [0, 2],
        "template where": [1],
    }


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([], id="fewer"),
        pytest.param([row("yes", "no")], id="another truth"),
        pytest.param([row("yes", "yes", clip="b")], id="another clip"),
    ],
)
def test_a_baseline_of_other_questions_is_refused(others):
    with pytest.raises(UsageError, match="does not answer the same questions"):
        check_pairs([row("yes", "yes")], others)
