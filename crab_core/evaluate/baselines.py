"""What a score must beat to mean anything: answers that need no eyes and no ears.

A blind model (the same questions without media) needs no code of its own: its rows are scored like any others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crab_core.errors import UsageError
from crab_core.evaluate.rows import EventRow, QaRow, normalise
from crab_core.types import Event


@dataclass(frozen=True, slots=True)
class Majority:
    """The most frequent training answer of each template, and of all for a template that training never had."""

    by_template: dict[str, str]
    overall: str

    def answer(self, template: str) -> str:
        """What it always answers to a question of that template."""
        return self.by_template.get(template, self.overall)

    def rows(self, rows: Sequence[QaRow]) -> list[QaRow]:
        """The same questions, answered by the majority."""
        return [replace(row, predicted=self.answer(row.template)) for row in rows]


def fit_majority(examples: Iterable[tuple[str, str]]) -> Majority:
    """The majority of (template, true answer) pairs of the training split; of equals the first in the alphabet.

    Raises UsageError if there are none.
    """
    votes: dict[str, Counter[str]] = {}
    for template, truth in examples:
        votes.setdefault(template, Counter())[normalise(truth)] += 1
    if not votes:
        raise UsageError("a majority needs training answers, and there are none")
    together = sum(votes.values(), Counter[str]())
    return Majority({template: _top(cast) for template, cast in votes.items()}, _top(together))


def whole_clip(rows: Sequence[EventRow]) -> list[EventRow]:
    """The same clips, told by an oracle of labels without a sense of time: each true label from start to end."""
    return [replace(row, predicted=_stretched(row)) for row in rows]


def nothing(rows: Sequence[EventRow]) -> list[EventRow]:
    """The same clips without a word: every second is background, which is right more often than one thinks."""
    return [replace(row, predicted=()) for row in rows]


def _stretched(row: EventRow) -> tuple[Event, ...]:
    kept = dict.fromkeys((event.label, event.track) for event in row.truth)
    return tuple(Event(label, 0.0, float(row.seconds), track) for label, track in kept)


def _top(votes: Counter[str]) -> str:
    return min(votes, key=lambda answer: (-votes[answer], answer))
