"""Events out of numbers and names: model seconds become true ones, and what cannot be used becomes a problem."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from crab_core.tasks.tags import Item
from crab_core.types import Canvas, Event, Track

NONE = "none"

_NUMBER = re.compile(r"(?:(?<!\d)(?<!\d\s)-)?[0-9]+(?:\.[0-9]+)?")
_BRACKET = re.compile(r"\(\s*(-?[0-9]+(?:\.[0-9]+)?)\s*[\s,;-]\s*(-?[0-9]+(?:\.[0-9]+)?)\s*\)")
_NOTHING = {NONE, "nothing", "no event", "no events"}
_EDGE = " ,;.:"


@dataclass(slots=True)
class EventLog:
    """Collects events in true seconds, and what was wrong with the others."""

    canvas: Canvas
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    said_none: bool = False

    def check(self, item: Item) -> None:
        """Note a tag that is not closed."""
        if not item.closed:
            self.problems.append(f"the {item.tag} tag is not closed")

    def add_ranges(self, label: str, content: str) -> None:
        """Add the pairs of numbers of one `<range>`."""
        numbers = [float(number) for number in _NUMBER.findall(content)]
        if not numbers or len(numbers) % 2:
            self.problems.append(f"the range '{_short(content)}' is not a start and an end")
        for start, end in zip(numbers[::2], numbers[1::2], strict=False):
            self._add(_label(label), start, end, "both")

    def add_brackets(self, content: str, track: Track) -> None:
        """Add the `name,(s e),(s e)` of one tag."""
        at, label = 0, ""
        for match in _BRACKET.finditer(content):
            label = self._next_label(content[at : match.start()]) or label
            at = match.end()
            self._add(label, float(match[1]), float(match[2]), track)
        rest = self._next_label(content[at:])
        if rest:
            self._without_time(rest)

    def _next_label(self, gap: str) -> str:
        *lone, label = [_label(part) for part in gap.split(";")]
        for name in filter(None, lone):
            self._without_time(name)
        return label

    def _without_time(self, label: str) -> None:
        if label.lower() in _NOTHING:
            self.said_none = True
        else:
            self.problems.append(f"the event '{_short(label)}' has no time range")

    def _add(self, label: str, start: float, end: float, track: Track) -> None:
        canvas = self.canvas
        said = f"{second(start)} to {second(end)}"
        if not label:
            self.problems.append(f"the range {said} has no event")
            return
        if label.lower() in _NOTHING:
            self.said_none = True
            return
        if max(start, end) > canvas.seconds or min(start, end) < 0:
            self.problems.append(f"'{_short(label)}' from {said} reaches beyond the clip and was cut to its length")
        start_s, end_s = (_true_second(value, canvas) for value in (start, end))
        if start_s >= end_s:
            self.problems.append(f"'{_short(label)}' from {said} has no length and was left out")
            return
        event = Event(label, start_s, end_s, track)
        if event in self.events:
            self.problems.append(f"'{_short(label)}' from {said} is said twice")
        else:
            self.events.append(event)


def second(value: float) -> str:
    """`3`, `3.5`: thousandths at most, no zeros at the end."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _label(text: str) -> str:
    """The name without blanks, marks and an `and` around it."""
    before, name = None, " ".join(text.split())
    while before != name:
        before, name = name, name.strip(_EDGE).removeprefix("and ").strip()
    return "" if name == "and" else name


def _true_second(value: float, canvas: Canvas) -> float:
    inside = min(max(0.0, value), float(canvas.seconds))
    return min(round(inside * canvas.second_s, 3), canvas.duration_s)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 40 else f"{words[:39]}…"
