"""Events over time as lines of text, for terminals: a row for each label and track, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence

from crab_cli.failures import one_line
from crab_core.types import Event, Track

MOST_ROWS, NAME_WIDTH = 20, 24
_HOW: dict[Track, str] = {"both": "", "visual": " (seen)", "audio": " (heard)"}


def timeline(events: Sequence[Event], duration_s: float, width: int, *, ascii_only: bool = False) -> list[str]:
    """The lines, none wider than `width` columns; nothing for no events or a narrow terminal.

    A column is marked if any of its time is covered. Labels come in the order in which they first happen.
    """
    rows: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda one: one.start_s):
        rows.setdefault(one_line(event.label) + _HOW[event.track], []).append(event)
    names = [_fitted(name) for name in rows][:MOST_ROWS]
    name_width = max(map(_cells, names), default=0)
    columns = width - name_width - 8  # two before the bars, six for the last time
    if not rows or columns < 10 or duration_s <= 0:
        return []
    bar, blank = ("#", ".") if ascii_only else ("█", "·")
    drawn = (
        f"{name}{' ' * (name_width - _cells(name))}  {_bar(spans, duration_s, columns, bar, blank)}"
        for name, spans in zip(names, rows.values(), strict=False)
    )
    more = [f"and {len(rows) - MOST_ROWS} more"] if len(rows) > MOST_ROWS else []
    return [" " * (name_width + 2) + scale(duration_s, columns), *drawn, *more]


def scale(duration_s: float, columns: int) -> str:
    """`0    2    4    6    8   10 s`: round seconds or minutes where they belong, at least 8 columns apart."""
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((one for one in steps if columns * one / duration_s >= 8), duration_s)
    line = ""
    for index in range(int(duration_s / step + 1e-9) + 1):
        at = round(index * step / duration_s * columns)
        line = line.ljust(at) + _time(index * step, step)
    return line


def _bar(spans: Sequence[Event], duration_s: float, columns: int, bar: str, blank: str) -> str:
    covered = [False] * columns
    for event in spans:
        first = min(columns - 1, int(event.start_s / duration_s * columns))
        last = min(columns, max(first + 1, -int(-event.end_s / duration_s * columns // 1)))
        covered[first:last] = [True] * (last - first)
    return "".join(bar if one else blank for one in covered)


def _time(seconds: float, step: float) -> str:
    if step < 60:
        return f"{seconds:g}s" if seconds < 60 else f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours}:{minutes:02d}h" if hours else f"{minutes}min"


def _fitted(name: str) -> str:
    """The name, cut to NAME_WIDTH columns."""
    if _cells(name) <= NAME_WIDTH:
        return name
    while _cells(name) >= NAME_WIDTH:
        name = name[:-1]
    return f"{name}…"


def _cells(text: str) -> int:
    """How many columns a text takes: Chinese letters take two."""
    from rich.cells import cell_len

    return cell_len(text)
