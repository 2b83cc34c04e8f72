"""Accuracy of short answers (AVQA): over all questions, and per type, modality and template."""

from __future__ import annotations

from collections.abc import Sequence

from crab_core.evaluate.bootstrap import Counts, counts
from crab_core.evaluate.rows import QaRow


def accuracy(rows: Sequence[QaRow]) -> Counts:
    """Right answers over all answers; an answer is right if it equals the truth after `normalise`.

    Raises UsageError if there are no rows.
    """
    return counts("share", [row.clip for row in rows], [(row.is_right, 1) for row in rows])


def groups(rows: Sequence[QaRow]) -> dict[str, list[int]]:
    """The rows' numbers under each heading, in the order of a report.

    `all`, then `type counting`, `modality audio`, `audio, counting` (MUSIC-AVQA's nine categories) and
    `template how_many`.
    """
    found: dict[str, list[int]] = {"all": list(range(len(rows)))}
    for heading in (_by_type, _by_modality, _by_both, _by_template):
        for name in sorted({heading(row) for row in rows}):
            found[name] = [number for number, row in enumerate(rows) if heading(row) == name]
    return found


def _by_type(row: QaRow) -> str:
    return f"type {row.type}"


def _by_modality(row: QaRow) -> str:
    return f"modality {row.modality}"


def _by_both(row: QaRow) -> str:
    return f"{row.modality}, {row.type}"


def _by_template(row: QaRow) -> str:
    return f"template {row.template}"
