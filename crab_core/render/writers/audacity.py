"""Events as an Audacity label track: File, Import, Labels."""

from __future__ import annotations

from pathlib import Path

from crab_core.render.writers._base import TextWriter, in_order, told
from crab_core.types import Result


def write(result: Result, clip: Path) -> str:
    """One line an event: start and end in seconds with six decimals, and the label, between tabs."""
    return "".join(f"{event.start_s:.6f}\t{event.end_s:.6f}\t{told(event)}\n" for event in in_order(result))


WRITER = TextWriter(".labels.txt", write, needs="events")
