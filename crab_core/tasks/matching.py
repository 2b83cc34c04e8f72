"""Which of two clips belongs to a sound or to a video: what the tasks a2v and v2a share.

Source of the wordings: Crab+, which shows both candidates as one: two videos end to end as one video, two sounds end to
end as one sound. The answer is `<answer>1</answer>` or `<answer>2</answer>`; numbers in words are read too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from crab_core.tasks.grammar import read_answer
from crab_core.types import Answer, Canvas, Reading

CANDIDATES = 2
_NUMBERS = {"1": "1", "one": "1", "first": "1", "2": "2", "two": "2", "second": "2"}
_WORD = re.compile(rf"(?<![\w.])({'|'.join(_NUMBERS)})(?![\w]|\.\d)", re.IGNORECASE)


def read_match(text: str, canvas: Canvas) -> Reading:
    """`So it is the first. <answer>1</answer>.` gives the answer `1`; one that names none or both is a problem."""
    reading = read_answer(text, canvas)
    told = reading.answer.text if reading.answer is not None else ""
    named = {_NUMBERS[word.lower()] for word in _WORD.findall(told)}
    if len(named) == 1:
        reasoning = reading.answer.reasoning if reading.answer is not None else ""
        return replace(reading, answer=Answer(named.pop(), reasoning))
    if not told:
        return reading
    problem = f"the answer '{told[:40]}' names neither 1 nor 2" if not named else f"'{told[:40]}' names both"
    return replace(reading, problems=(*reading.problems, problem))


def write_match(number: int, reasoning: str = "") -> str:
    """The target of a match: `<answer>1</answer>.`, after the reasons if there are any."""
    if number not in range(1, CANDIDATES + 1):
        raise ValueError(f"a match is 1 or 2, got {number}")
    return f"{reasoning} <answer>{number}</answer>.".strip()
