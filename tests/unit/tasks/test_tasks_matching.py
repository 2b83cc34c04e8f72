"""Reading which of two clips matches: numbers, words, and what names neither or both."""

from __future__ import annotations

import pytest

from crab_core.tasks.matching import read_match, write_match
from crab_core.types import Answer, Canvas

TEN = Canvas(duration_s=10.0)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<answer>1</answer>.", "1", ""),
        ("It barks. <answer> two </answer>.", "2", "It barks."),
        ("<answer>the first video</answer>", "1", ""),
        ("<answer>Video 2.</answer>", "2", ""),
        ("2", "2", ""),
        ("The second", "2", ""),
    ],
)
def test_a_match_is_a_number(text: str, answer: str, reasoning: str) -> None:
    assert read_match(text, TEN).answer == Answer(answer, reasoning)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<answer>dog</answer>", "the answer 'dog' names neither 1 nor 2"),
        ("<answer>12</answer>", "the answer '12' names neither 1 nor 2"),
        ("<answer>1 or 2</answer>", "'1 or 2' names both"),
        ("", "the model wrote nothing"),
    ],
)
def test_what_is_no_match_is_a_problem(text: str, problem: str) -> None:
    assert problem in read_match(text, TEN).problems


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_written_is_read(number: int) -> None:
    reading = read_match(write_match(number, "I hear a dog."), TEN)
    assert reading.answer == Answer(str(number), "I hear a dog.") and not reading.problems


def test_only_two_candidates_are_written() -> None:
    with pytest.raises(ValueError, match="got 3"):
        write_match(3)
