"""Events as subtitles, SubRip and WebVTT, so that any player shows them over the clip.

WebVTT has escapes. SubRip has none, and players take `<i>`, `{\\an8}` and `\\N` for formatting: there such letters are
replaced by ones that look alike.
"""

from __future__ import annotations

from pathlib import Path

from crab_core.render.writers._base import TextWriter, clock, in_order, span_ms, told
from crab_core.types import Result

_LOOKALIKES = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")", "\\": "/"})
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def write_srt(result: Result, clip: Path) -> str:
    """One numbered cue an event."""
    cues = []
    for number, event in enumerate(in_order(result), start=1):
        start, end = (clock(ms, ",") for ms in span_ms(event))
        cues.append(f"{number}\n{start} --> {end}\n{told(event).translate(_LOOKALIKES)}\n")
    return "\n".join(cues)


def write_vtt(result: Result, clip: Path) -> str:
    """One cue an event after the header."""
    cues = ["WEBVTT\n"]
    for event in in_order(result):
        start, end = (clock(ms, ".") for ms in span_ms(event))
        cues.append(f"{start} --> {end}\n{told(event).translate(_ENTITIES)}\n")
    return "\n".join(cues)


SRT = TextWriter(".srt", write_srt, needs="events")
VTT = TextWriter(".vtt", write_vtt, needs="events")
