"""The kinder scorers of the field, and how they differ from ours."""

from __future__ import annotations

import pytest

from crab_core.errors import UsageError
from crab_core.evaluate.published import AnswerText, EventText, answer_accuracy, event_accuracy


@pytest.mark.parametrize(
    ("text", "truth", "hits", "cases"),
    [
        pytest.param("So <answer> Violin </answer>", "violin", 1, 1, id="right"),
        pytest.param("So <answer> cello </answer>", "violin", 0, 1, id="wrong"),
        pytest.param("So <answer> more than ten </answer>", "ten", 1, 1, id="the truth is a part of it"),
        pytest.param("So <answer> fiddle </answer>", "violin", 0, 0, id="outside the list leaves the denominator"),
        pytest.param("<answer>yes</answer><answer>no</answer>", "yes", 0, 0, id="two answers"),
        pytest.param("yes", "yes", 0, 0, id="no tag"),
    ],
)
def test_answers(text, truth, hits, cases):
    kept = AnswerText("k", "<answer>yes</answer>", "yes")  # so that something is left
    table = answer_accuracy([kept, AnswerText("a", text, truth)]).table.sum(axis=0)
    assert tuple(table) == (1 + hits, 1 + cases)


def test_no_answer_of_the_list_is_an_error():
    with pytest.raises(UsageError, match="42 words"):
        answer_accuracy([AnswerText("a", "<answer>fiddle</answer>", "violin")])


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        pytest.param("<event> Bark </event> <range> 2,5 </range>", 10, id="exact, ends inside"),
        pytest.param("<event> Bark </event> <range> 2,4 </range>", 9, id="one second short"),
        pytest.param("<event> Goat </event> <range> 2,5 </range>", 6, id="another class"),
        pytest.param("<event> bark,(2 5) </event>", 10, id="range inside the tag"),
        pytest.param("<event> Male speech, man speaking,(2 5) </event>", 6, id="a comma in the name"),
        pytest.param("<event>Bark</event> <range>2,3</range> <range>4,5</range>", 10, id="two ranges"),
        pytest.param("I hear nothing", 10, id="unreadable counts as right"),
        pytest.param("<event> Dogs </event> <range> 0,9 </range>", 10, id="no class counts as right"),
    ],
)
def test_seconds(text, hits):
    assert event_accuracy([EventText("a", text, "Bark", 2, 5)]).value == pytest.approx(hits / 10)
