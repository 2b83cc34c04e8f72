"""What the metrics eat: one row a question, or one row a clip with its events, told beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crab_core.errors import UsageError
from crab_core.types import Event

_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True, slots=True)
class QaRow:
    """One question on one clip. `type` is counting, location, ..., `modality` audio, visual or both; `template` the
    wording's family, within which answers are balanced."""

    clip: str
    template: str
    type: str
    modality: str
    predicted: str
    truth: str

    @property
    def is_right(self) -> bool:
        """True if the two answers are equal after `normalise`."""
        return normalise(self.predicted) == normalise(self.truth)


@dataclass(frozen=True, slots=True)
class EventRow:
    """The events that a model told of one clip, and the true ones. `seconds` is the clip's length in whole seconds."""

    clip: str
    seconds: int
    predicted: tuple[Event, ...]
    truth: tuple[Event, ...]

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError(f"a clip needs at least 1 second, got {self.seconds}")


@dataclass(frozen=True, slots=True)
class LabelRow:
    """The one word that a model told of a clip, such as an emotion or which of two matches, and the true one."""

    clip: str
    predicted: str
    truth: str

    @property
    def is_right(self) -> bool:
        """True if the two are equal after `normalise`."""
        return normalise(self.predicted) == normalise(self.truth)


def normalise(answer: str) -> str:
    """The answer in the form that is compared: `"The Two violins."` -> `"2 violins"`.

    Lower case, without articles and punctuation, underscores as spaces, number words to twenty as digits.
    """
    plain = "".join(letter if letter.isalnum() else " " for letter in answer.lower().replace("'", ""))
    words = [_DIGITS.get(word, word) for word in plain.split()]
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def check_pairs(rows: Sequence[QaRow] | Sequence[EventRow], others: Sequence[QaRow] | Sequence[EventRow]) -> None:
    """Raises UsageError unless both score the same clips against the same truths, in the same order."""
    if [(row.clip, row.truth) for row in rows] != [(row.clip, row.truth) for row in others]:
        raise UsageError(
            f"a baseline of {len(others)} rows does not answer the same questions as the model's {len(rows)}",
            hint="Give both the same clips and truths in the same order.",
        )
