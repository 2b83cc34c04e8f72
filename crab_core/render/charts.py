"""Charts of head shares as SVG text, each a picture of its own: in a page, or alone as a figure of a paper.

Text and axes take the colour of the text around them; alone they are black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from crab_core.render.colours import colour, ink_on

LABEL_PX, BAR_PX, ROW_PX, VALUE_PX = 100, 360, 26, 44
WAVE_PX = 44


def shares_chart(rows: Mapping[str, Sequence[float]], title: str) -> str:
    """One stacked bar a row: what part each head has of it. Rows that are all zero stay empty."""
    height = ROW_PX * len(rows) + 4
    parts = []
    for number, (label, values) in enumerate(rows.items()):
        top, total, left = number * ROW_PX + 2, sum(values) or 1.0, float(LABEL_PX)
        parts.append(text(LABEL_PX - 8, top + 16, label, anchor="end"))
        for head, value in enumerate(values):
            width = BAR_PX * value / total
            parts.append(_rect(left, top, width, ROW_PX - 6, colour(head), f"{label}, head {head + 1}: {value:.3f}"))
            if width > 42:
                parts.append(
                    text(left + width / 2, top + 15, f"{value / total:.0%}", anchor="middle", fill=ink_on(colour(head)))
                )
            left += width
    return svg(LABEL_PX + BAR_PX + 8, height, parts, title)


def bars_chart(counts: Mapping[str, float], title: str) -> str:
    """One bar a row, as long as its number, which stands behind it; the longest fills the width."""
    longest = max([*counts.values(), 1e-9])
    parts = []
    for number, (label, value) in enumerate(counts.items()):
        top = number * ROW_PX + 2
        shown = label if len(label) <= 15 else label[:14] + "…"
        parts.append(text(LABEL_PX - 8, top + 16, shown, anchor="end"))
        width = BAR_PX * value / longest
        parts.append(_rect(LABEL_PX, top, width, ROW_PX - 6, colour(0), f"{label}: {value:g}"))
        parts.append(text(LABEL_PX + width + 6, top + 15, f"{value:g}"))
    return svg(LABEL_PX + BAR_PX + VALUE_PX, ROW_PX * len(counts) + 4, parts, title)


def seconds_chart(
    series: Sequence[Sequence[float]], title: str, ends_s: tuple[float, float], loudness: Sequence[float] = ()
) -> str:
    """One line a head over the seconds of a clip; `series` is (S, H), `ends_s` the first and last time shown.

    `loudness`, if given, is how far the sound swings (0 to 1) in equal parts of that time: its wave stands above.
    """
    wave = WAVE_PX if loudness else 0
    seconds, height, left = len(series), 140 + wave, 44
    width = LABEL_PX + BAR_PX + 8
    values = [value for row in series for value in row]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = max(0.02, (high - low) * 0.1)
    low, high = max(0.0, low - margin), min(1.0, high + margin)

    def place(second: int, value: float) -> tuple[float, float]:
        across = left + (width - left - 10) * (second + 0.5) / max(seconds, 1)
        return across, wave + 8 + (height - wave - 30) * (1 - (value - low) / (high - low))

    parts = [
        text(left - 6, place(0, value)[1] + 4, f"{value:.2f}", anchor="end") for value in (low, (low + high) / 2, high)
    ]
    parts += [text(left, height - 4, f"{ends_s[0]:g} s"), text(width - 10, height - 4, f"{ends_s[1]:g} s", "end")]
    if loudness:
        parts.append(_wave(loudness, left, width - 10))
    for head in range(len(series[0]) if series else 0):
        points = [place(second, row[head]) for second, row in enumerate(series)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour(head)}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour(head)}"/>' for x, y in points]
    return svg(width, height, parts, title)


def _wave(loudness: Sequence[float], left: float, right: float) -> str:
    """The outline of a sound around the middle of the strip above a chart."""
    step, middle, reach = (right - left) / len(loudness), WAVE_PX / 2, WAVE_PX / 2 - 2
    across = [left + step * (number + 0.5) for number in range(len(loudness))]
    above = [f"{x:.1f},{middle - max(reach * part, 0.5):.1f}" for x, part in zip(across, loudness, strict=True)]
    below = [f"{x:.1f},{middle + max(reach * part, 0.5):.1f}" for x, part in zip(across, loudness, strict=True)]
    return f'<polygon points="{" ".join([*above, *below[::-1]])}" fill-opacity="0.45"/>'


def layers_chart(
    table: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str], head: int
) -> str:
    """One head's share in each layer (row) and projection (column), as cells from white to the head's colour.

    The share is drawn from 0 to 1, None is left empty.
    """
    title = f"share of head {head + 1} by layer and projection"
    return cells_chart(table, rows, columns, Cells(f"head {head + 1}", title, colour(head)))


@dataclass(frozen=True, slots=True)
class Cells:
    """What the cells of a table are: its corner's name, its title, its colour, the value of the full colour."""

    name: str
    title: str
    ink: str
    highest: float = 1.0
    unit: str = ""

    def said(self, value: float) -> str:
        """`.25` of shares, `63` of degrees."""
        return f"{value:.0f}" if self.highest > 1 else f"{value:.2f}".removeprefix("0")


def cells_chart(
    table: Sequence[Sequence[float | None]], rows: Sequence[str], columns: Sequence[str], cells: Cells
) -> str:
    """A value for each layer (row) and projection (column), as cells from white to the full colour; None is empty."""
    cell_w, cell_h, left = 46, 22, 76
    parts = [
        text(left + cell_w * (c + 0.5), 12, name.removesuffix("_proj"), "middle") for c, name in enumerate(columns)
    ]
    parts.append(text(0, 12, cells.name))
    for r, row in enumerate(table):
        top = 18 + r * cell_h
        parts.append(text(left - 6, top + 15, rows[r], "end"))
        for c, value in enumerate(row):
            if value is None:
                continue
            told = f"layer {rows[r]}, {columns[c]}, {cells.name}: {value:.3f}{cells.unit}"
            part = min(max(value / cells.highest, 0.0), 1.0)
            fill = ink_on(cells.ink) if part > 0.8 else "currentColor"
            parts.append(_rect(left + c * cell_w, top, cell_w - 2, cell_h - 2, cells.ink, told, opacity=part))
            parts.append(text(left + cell_w * (c + 0.5) - 1, top + 15, cells.said(value), "middle", fill))
    return svg(left + cell_w * len(columns) + 4, 20 + cell_h * len(table), parts, cells.title)


def svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    """A picture of its own around parts that are SVG already; the title is plain text."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" font-family="sans-serif" font-size="12" fill="currentColor">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _rect(x: float, y: float, width: float, height: float, fill: str, said: str, opacity: float = 1.0) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height}" fill="{fill}" '
        f'fill-opacity="{opacity:.3f}"><title>{escape(said)}</title></rect>'
    )


def text(x: float, y: float, said: str, anchor: str = "start", fill: str = "currentColor") -> str:
    """Plain text at a place; `anchor` is `start`, `middle` or `end`."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(said)}</text>'
