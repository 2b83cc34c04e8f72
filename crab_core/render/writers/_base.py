"""What a writer of a text format is, and what the formats share: labels on one line, times, who is meant.

Labels come from a model and are untrusted: each writer keeps them from being read as anything but text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crab_core.types import Event, Result, Track

_HOW: dict[Track, str] = {"audio": " (heard)", "visual": " (seen)", "both": ""}


@dataclass(frozen=True, slots=True)
class TextWriter:
    """A format: `write(result, clip)` gives the text of the file about a clip, whose name gets `suffix`.

    `needs` names what a result must be able to hold for the file to make sense, such as `events`; empty for formats
    that hold whole results.
    """

    suffix: str
    write: Callable[[Result, Path], str]
    needs: str = ""


def plain(text: str) -> str:
    """The text on one line, with single blanks in the place of line breaks, control characters and lone surrogates."""
    shown = "".join(" " if unicodedata.category(letter) in _UNSAID else letter for letter in text)
    return " ".join(shown.split())


_UNSAID = ("Cc", "Cs", "Zl", "Zp")


def told(event: Event) -> str:
    """The label, and how it is noticed where that is one way only: `dog`, `dog (heard)`, `dog (seen)`."""
    return f"{plain(event.label)}{_HOW[event.track]}"


def in_order(result: Result) -> list[Event]:
    """The events by start, then end; events of the same times stay in the order in which they were told."""
    return sorted(result.events, key=lambda event: (event.start_s, event.end_s))


def span_ms(event: Event) -> tuple[int, int]:
    """Start and end in whole milliseconds, at least one apart."""
    start = round(event.start_s * 1000)
    return start, max(start + 1, round(event.end_s * 1000))


def clock(ms: int, point: str) -> str:
    """`clock(3_723_004, ",")` is `01:02:03,004`."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{ms:03d}"
