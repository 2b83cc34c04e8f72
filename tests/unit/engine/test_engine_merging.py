"""Events of overlapping windows become events of the clip."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crab_core.engine.merging import Window, WindowEvents, merge, united
from crab_core.engine.windows import spread
from crab_core.types import Event


def told(start: float, end: float, *events: Event) -> WindowEvents:
    return WindowEvents(Window(start, end), events)


def cut(truth: list[Event], windows: tuple[Window, ...]) -> list[WindowEvents]:
    """What a perfect model tells: of every event the part inside the window."""
    out = []
    for one in windows:
        inside = [(e, max(e.start_s, one.start_s), min(e.end_s, one.end_s)) for e in truth]
        out.append(WindowEvents(one, tuple(Event(e.label, a, b, e.track) for e, a, b in inside if a < b)))
    return out


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        pytest.param([told(0, 10, Event("dog", 3, 5))], [Event("dog", 3, 5)], id="one window stays"),
        pytest.param(
            [told(0, 10, Event("dog", 8, 10)), told(5, 15, Event("dog", 8, 12)), told(10, 20, Event("dog", 10, 12))],
            [Event("dog", 8, 12)],
            id="cut by an edge",
        ),
        pytest.param(
            [told(0, 10, Event("dog", 0, 10)), told(10, 20, Event("dog", 10, 20))],
            [Event("dog", 0, 20)],
            id="touching windows",
        ),
        pytest.param(
            [told(0, 10, Event("dog", 9, 10)), told(5, 15), told(10, 20)], [], id="only said at the edge: not believed"
        ),
        pytest.param(
            [told(0, 10), told(5, 15, Event("dog", 9, 11)), told(10, 20)],
            [Event("dog", 9, 11)],
            id="said in the middle",
        ),
        pytest.param(
            [told(0, 10, Event("Dog", 1, 3), Event("dog ", 2, 6))], [Event("Dog", 1, 6)], id="one label, any case"
        ),
        pytest.param(
            [told(0, 10, Event("dog", 1, 3, "audio"), Event("dog", 2, 6, "visual"))],
            [Event("dog", 1, 3, "audio"), Event("dog", 2, 6, "visual")],
            id="tracks are apart",
        ),
        pytest.param(
            [told(0, 10, Event("dog", 1, 3), Event("dog", 5, 6))],
            [Event("dog", 1, 3), Event("dog", 5, 6)],
            id="a pause",
        ),
        pytest.param([told(0, 10), told(5, 15)], [], id="nothing"),
    ],
)
def test_merging(windows: list[WindowEvents], expected: list[Event]) -> None:
    assert list(merge(windows)) == expected


@st.composite
def _truths(draw: st.DrawFn) -> list[Event]:
    """Events in whole seconds; those of one label are at least a second apart."""
    events = []
    for label in ("dog", "bell"):
        edges = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
        events += [Event(label, a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return events


@settings(max_examples=60, deadline=None)
@given(_truths(), st.integers(3, 12), st.integers(1, 12))
def test_a_perfect_model_is_merged_perfectly(truth: list[Event], window: int, stride: int) -> None:
    windows = spread(41.3, window, min(stride, window))
    assert sorted(merge(cut(truth, windows)), key=_order) == sorted(truth, key=_order)


def _order(event: Event) -> tuple[float, float, str]:
    return event.start_s, event.end_s, event.label


@pytest.mark.parametrize(
    ("duration", "window", "stride", "starts", "end"),
    [
        (10.4, 10, 5, [0], 10.4),
        (10.6, 10, 5, [0, 5], 10.6),
        (30, 10, 5, [0, 5, 10, 15, 20], 30),
        (24.3, 10, 10, [0, 10, 20], 24.3),
        (7, 3, 2.5, [0, 2.5, 5], 7),
        (3.5, 10, 5, [0], 3.5),
    ],
)
def test_windows_reach_the_end(duration: float, window: float, stride: float, starts: list[float], end: float) -> None:
    windows = spread(duration, window, stride)
    assert [one.start_s for one in windows] == starts
    assert all(one.length_s == window for one in windows[:-1])
    assert abs(windows[-1].end_s - end) < 0.5


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([Event("cow", 0, 4), Event("Cow ", 2, 9)], [Event("cow", 0, 9)], id="overlap"),
        pytest.param([Event("cow", 0, 4), Event("cow", 4, 9)], [Event("cow", 0, 4), Event("cow", 4, 9)], id="touch"),
        pytest.param(
            [Event("cow", 0, 3), Event("dog", 1, 2), Event("cow", 5, 8), Event("cow", 2, 6)],
            [Event("cow", 0, 8), Event("dog", 1, 2)],
            id="one that joins two",
        ),
        pytest.param(
            [Event("cow", 0, 4, "audio"), Event("cow", 0, 4, "visual")],
            [Event("cow", 0, 4, "audio"), Event("cow", 0, 4, "visual")],
            id="two tracks",
        ),
    ],
)
def test_what_overlaps_is_united(events: list[Event], expected: list[Event]) -> None:
    assert list(united(events)) == expected
