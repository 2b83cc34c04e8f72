"""Events over a clip's time as SVG text: a lane for each label and track, heard ones with an outline only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from crab_core.render.charts import svg, text
from crab_core.types import Event

LANE_PX, WIDTH_PX, LEFT_PX = 22, 520, 140
MOST_LANES = 12
WORDS = {"audio": "heard", "visual": "seen", "both": "seen and heard"}


def events_chart(events: Sequence[Event], duration_s: float, colours: Mapping[str, str]) -> str:
    """Bars from start to end; `colours` are `#rrggbb` by label. Of many lanes the first twelve, and how many more."""
    lanes: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        lanes.setdefault((event.label, event.track), []).append(event)
    shown = list(lanes.items())[:MOST_LANES]
    length = max([duration_s, *(event.end_s for event in events)])
    across = (WIDTH_PX - LEFT_PX - 12) / length if length > 0 else 0.0
    parts = []
    for row, ((label, track), some) in enumerate(shown):
        top = row * LANE_PX
        parts.append(text(LEFT_PX - 8, top + 15, _cut(label if track == "both" else f"{label}, {WORDS[track]}"), "end"))
        ink = colours.get(label, "#999999")
        for event in some:
            told = f"{label}, {WORDS[track]}: {event.start_s:g} to {event.end_s:g} s"
            x, width = LEFT_PX + event.start_s * across, max(2.0, (event.end_s - event.start_s) * across)
            parts.append(
                f'<rect x="{x:.1f}" y="{top + 4}" width="{width:.1f}" height="{LANE_PX - 7}" fill="{escape(ink)}" '
                f'fill-opacity="{0.25 if track == "audio" else 1}" stroke="{escape(ink)}" stroke-width="1.5">'
                f"<title>{escape(told)}</title></rect>"
            )
    bottom = len(shown) * LANE_PX
    parts += _axis(length, across, bottom)
    if len(lanes) > len(shown):
        parts.append(text(0, bottom + 16, f"and {len(lanes) - len(shown)} more"))
    return svg(WIDTH_PX, bottom + 22, parts, "events over the time of the clip")


def _axis(length: float, across: float, bottom: float) -> list[str]:
    """A line, and the times at both ends and in the middle."""
    parts = [
        f'<line x1="{LEFT_PX}" x2="{LEFT_PX + length * across:.1f}" y1="{bottom + 1}" y2="{bottom + 1}" '
        'stroke="currentColor" stroke-opacity="0.4"/>'
    ]
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(text(LEFT_PX + length * part * across, bottom + 16, f"{round(length * part, 1):g} s", anchor))
    return parts


def _cut(label: str, letters: int = 21) -> str:
    return label if len(label) <= letters else label[: letters - 1] + "…"
