"""Events over time as text."""

from __future__ import annotations

import pytest

from crab_cli.timeline import scale, timeline
from crab_core.types import Event


def test_bars_stand_where_the_events_are() -> None:
    events = [Event("dog", 5, 10, "audio"), Event("bell", 0, 2.5), Event("dog", 0, 1, "audio")]
    assert timeline(events, 10.0, 39, ascii_only=True) == [
        "             0s        5s        10s",
        "bell         #####...............",
        "dog (heard)  ##........##########",
    ]


def test_a_short_event_of_a_long_clip_is_seen() -> None:
    lines = timeline([Event("dog", 1799.5, 1800)], 1800.0, 80)
    assert lines[1].endswith("·█") and max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("duration", "columns", "line"),
    [
        (10, 20, "0s        5s        10s"),
        (1800, 40, "0min      7:30      15min     22:30     30min"),
        (7200, 24, "0min        1:00h       2:00h"),
        (0.4, 24, "0s    0.1s  0.2s  0.3s  0.4s"),
    ],
)
def test_scales(duration: float, columns: int, line: str) -> None:
    times = scale(duration, columns)
    assert times.split()[0] == line.split()[0] and len(times) <= columns + 6
    assert times.rindex(times.split()[-1]) <= columns


@pytest.mark.parametrize("events", [[], [Event("dog", 0, 1)]])
def test_nothing_where_nothing_can_be_shown(events: list[Event]) -> None:
    assert timeline(events, 10.0, 12) == []
    assert timeline(events, 0.0, 80) == []


def test_names_are_cut_by_what_they_take_on_screen() -> None:
    lines = timeline([Event("狗" * 40, 0, 1), Event("x" * 40 + "\n", 1, 2)], 2.0, 60)
    assert lines[1].startswith("狗" * 11 + "…") and lines[2].startswith("x" * 23 + "…")


def test_many_rows_are_counted() -> None:
    lines = timeline([Event(f"label {i}", i, i + 1) for i in range(30)], 30.0, 80)
    assert len(lines) == 22 and lines[-1] == "and 10 more"
