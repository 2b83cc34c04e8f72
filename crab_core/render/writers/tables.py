"""Events as a table with a header, commas or tabs between the columns.

A label that a spreadsheet would take for a formula gets an apostrophe before it, against CSV injection.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from crab_core.render.writers._base import TextWriter, plain
from crab_core.types import Event, Result

COLUMNS = ("start_s", "end_s", "track", "label")
_FORMULA = ("=", "+", "-", "@")


def write_csv(result: Result, clip: Path) -> str:
    """Commas; a label with a comma or a quote stands in quotes."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(map(_row, result.events))
    return file.getvalue()


def write_tsv(result: Result, clip: Path) -> str:
    """Tabs and no quotes: a label has neither tabs nor line breaks."""
    return "".join("\t".join(row) + "\n" for row in (COLUMNS, *map(_row, result.events)))


def _row(event: Event) -> tuple[str, str, str, str]:
    label = plain(event.label)
    safe = f"'{label}" if label.startswith(_FORMULA) else label
    return _number(event.start_s), _number(event.end_s), event.track, safe


def _number(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


CSV = TextWriter(".csv", write_csv, needs="events")
TSV = TextWriter(".tsv", write_tsv, needs="events")
