"""One true word a clip: an emotion, an action, which of two clips matches.

Nothing is published with Crab+ for these. `accuracy` is what papers call accuracy or weighted average recall, and
`mean_recall` the unweighted one. A text from which no answer could be read is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from crab_core.evaluate.bootstrap import Counts, counts
from crab_core.evaluate.rows import LabelRow, normalise


def accuracy(rows: Sequence[LabelRow]) -> Counts:
    """Right answers over all clips; raises UsageError if there are no rows."""
    return counts("share", [row.clip for row in rows], [(row.is_right, 1) for row in rows])


def mean_recall(rows: Sequence[LabelRow]) -> Counts:
    """The share of each true class that was told, averaged over the classes that occur."""
    names = sorted({normalise(row.truth) for row in rows})
    table = []
    for row in rows:
        adds = [0.0] * (2 * len(names))
        place = names.index(normalise(row.truth))
        adds[place], adds[len(names) + place] = float(row.is_right), 1.0
        table.append(adds)
    return counts("present classes", [row.clip for row in rows], table)


def majority(rows: Sequence[LabelRow]) -> list[LabelRow]:
    """The same clips with the most frequent true word told of each."""
    common = Counter(normalise(row.truth) for row in rows).most_common(1)
    return [replace(row, predicted=common[0][0]) for row in rows] if common else []
