"""Charts over many clips as SVG text: a scatter of two heads' shares, and means with their intervals.

Text and axes take the colour of the text around them. Tasks differ in colour and in shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import cos, pi, sin

from crab_core.render.charts import svg, text
from crab_core.render.colours import colour

SIDE_PX, LEFT_PX, TOP_PX = 300, 52, 12
CORNERS: tuple[tuple[int, float], ...] = ((24, 0), (4, 45), (3, -90), (4, 0), (3, 90), (5, -90), (6, 0))

Ends = tuple[float, float]
Bar = tuple[float, float, float]  # value, low, high


def scatter_chart(points: Mapping[str, Sequence[tuple[float, float]]], axes: tuple[str, str], title: str) -> str:
    """One mark a point, coloured by its group; both axes have one scale, so that distances compare."""
    every = [point for some in points.values() for point in some]
    across, down = _ends([x for x, _ in every], [y for _, y in every])
    parts = _frame(across, down, axes)
    for number, (name, some) in enumerate(points.items()):
        for x, y in some:
            said = f"{name}: {axes[0]} {x:.3f}, {axes[1]} {y:.3f}"
            parts.append(_mark(number, _place(x, across), SIDE_PX - _place(y, down), said))
    return svg(LEFT_PX + SIDE_PX + 28, TOP_PX + SIDE_PX + 44, parts, title)


def intervals_chart(rows: Mapping[str, Sequence[Bar]], names: Sequence[str], title: str) -> str:
    """Groups of points with their intervals, one group a row and one colour a name; the axis spans what is there."""
    values = [end for bars in rows.values() for bar in bars for end in bar]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = max((high - low) * 0.08, 1e-4)
    low, high = low - margin, high + margin
    left, width, step = 84, 370, 13
    parts, top = [], 6.0
    for row, bars in rows.items():
        height = step * len(bars)
        parts.append(text(left - 8, top + height / 2 + 4, row, "end"))
        for number, (value, start, end) in enumerate(bars):
            y = top + step * (number + 0.5)
            x, first, last = (left + width * (v - low) / (high - low) for v in (value, start, end))
            said = f"{row}, {names[number]}: {value:.3f} ({start:.3f} to {end:.3f})"
            parts.append(
                f'<g stroke="{colour(number)}" fill="{colour(number)}"><title>{escape(said)}</title>'
                f'<line x1="{first:.1f}" x2="{last:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke-width="2.5"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>'
            )
        top += height + 10
    for share in (0.0, 0.5, 1.0):
        x = left + width * share
        parts.append(_line(x, 0, x, top, 0.2))
        parts.append(text(x, top + 14, f"{low + (high - low) * share:.3f}", "middle"))
    return svg(left + width + 30, top + 20, parts, title)


def legend_mark(number: int) -> str:
    """The mark of a group as a small picture of its own."""
    return svg(14, 14, [_shape(number, 7, 7)], f"mark {number + 1}")


def _frame(across: Ends, down: Ends, axes: tuple[str, str]) -> list[str]:
    parts = [
        _line(LEFT_PX, TOP_PX + SIDE_PX, LEFT_PX + SIDE_PX, TOP_PX + SIDE_PX),
        _line(LEFT_PX, TOP_PX, LEFT_PX, TOP_PX + SIDE_PX),
    ]
    for share in (0.0, 0.5, 1.0):
        at = SIDE_PX * share
        parts.append(text(LEFT_PX + at, TOP_PX + SIDE_PX + 16, f"{_at(across, share):.3f}", "middle"))
        parts.append(text(LEFT_PX - 6, TOP_PX + SIDE_PX - at + 4, f"{_at(down, share):.3f}", "end"))
    parts.append(text(LEFT_PX + SIDE_PX / 2, TOP_PX + SIDE_PX + 36, axes[0], "middle"))
    turned = f"rotate(-90 {LEFT_PX - 42} {TOP_PX + SIDE_PX * 0.25:.0f})"
    label = text(LEFT_PX - 42, TOP_PX + SIDE_PX * 0.25, axes[1], "middle")
    return [*parts, f'<g transform="{turned}">{label}</g>']


def _ends(x: Sequence[float], y: Sequence[float]) -> tuple[Ends, Ends]:
    """Both axes' ends: the same width around the middle of each."""
    spans = [(min(some, default=0.0), max(some, default=1.0)) for some in (x, y)]
    width = max(0.01, 1.1 * max(high - low for low, high in spans))
    first, second = (((low + high - width) / 2, (low + high + width) / 2) for low, high in spans)
    return first, second


def _at(ends: Ends, share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def _place(value: float, ends: Ends) -> float:
    return SIDE_PX * (value - ends[0]) / (ends[1] - ends[0])


def _mark(number: int, x: float, y: float, said: str) -> str:
    return f"<g><title>{escape(said)}</title>{_shape(number, LEFT_PX + x, TOP_PX + y)}</g>"


def _shape(number: int, x: float, y: float, radius: float = 5.0) -> str:
    count, first = CORNERS[number % len(CORNERS)]
    turns = [pi * (first + 360 * corner / count) / 180 for corner in range(count)]
    corners = " ".join(f"{x + radius * cos(turn):.1f},{y + radius * sin(turn):.1f}" for turn in turns)
    return f'<polygon points="{corners}" fill="{colour(number)}" fill-opacity="0.75"/>'


def _line(x0: float, y0: float, x1: float, y1: float, opacity: float = 0.6) -> str:
    return (
        f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="currentColor" '
        f'stroke-opacity="{opacity}"/>'
    )
