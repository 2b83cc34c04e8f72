"""The formats in which models write answers and events, and the readers that turn text into a `Reading`.

One home for both directions: what a writer writes, the reader of the same task reads back. A reader never raises:
what it cannot use becomes a problem of the reading. Source of the formats: the AV-UIE targets of the Crab release,
with `<visual_event>` and `<audio_event>` in place of `<visual>` and `<audio>` (the latter is a splice token there);
both spellings are read. Seconds in texts are the model's own, whole and counted from 0; an end is exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from crab_core.types import Answer, Canvas, Event, Reading, Track

NONE = "none"

_END = re.compile(r"</s>|<\|im_end\|>|<\|endoftext\|>")
_LEAD_IN = re.compile(r"\b(?:so|therefore|thus|hence)\s*,?\s*the answer is\s*:?\s*$", re.IGNORECASE)
_AVE_LEAD_IN = re.compile(
    r"\b(?:so|therefore|thus|hence)\s*,?\s*the audible and visible\b.*$", re.IGNORECASE | re.DOTALL
)
_NUMBER = re.compile(r"(?:(?<!\d)(?<!\d\s)-)?[0-9]+(?:\.[0-9]+)?")
_BRACKET = re.compile(r"\(\s*(-?[0-9]+(?:\.[0-9]+)?)\s*[\s,;-]\s*(-?[0-9]+(?:\.[0-9]+)?)\s*\)")
_NOTHING = {NONE, "nothing", "no event", "no events"}
_EDGE = " ,;.:"


def read_answer(text: str, canvas: Canvas) -> Reading:
    """`The dog is heard. So the answer is <answer> dog </answer>.` gives answer `dog` and what was said before it.

    Without tags the whole text is the answer. `canvas` is not needed; every reader takes one.
    """
    said = _spoken(text)
    items = [item for item in _items(said, ("answer",)) if item.content.strip()]
    if not items:
        return _untagged(_without_tags(said, ("answer",)), "answer")
    first = items[0]
    problems = [] if first.closed else ["the answer tag is not closed"]
    if len(items) > 1:
        problems.append(f"{len(items)} answers were given and the first one was taken")
    reasoning = _without_tags(said[: first.start], ("answer",))
    while _LEAD_IN.search(reasoning):
        reasoning = _LEAD_IN.sub("", reasoning).strip()
    return Reading(Answer(" ".join(first.content.split()), reasoning), problems=tuple(problems))


def read_ave(text: str, canvas: Canvas) -> Reading:
    """`<event> dog </event>, and the time range is <range> 0,8 </range>` gives one event on both tracks.

    An event may have several ranges; `<event>dog,(0 8)</event>` is read too.
    """
    said = _spoken(text)
    log = _Log(canvas)
    label, pending = "", ""
    early: list[str] = []
    for item in _items(said, ("event", "range")):
        log.check(item)
        if item.tag == "range" and not label:
            early.append(item.content)
        elif item.tag == "range":
            log.add_ranges(label, item.content)
            pending = ""
        else:
            log.add_brackets(pending, "both")
            label = pending = item.content
            for content in early:
                log.add_ranges(label, content)
                pending = ""
            early.clear()
    log.add_brackets(pending, "both")
    for content in early:
        log.add_ranges("", content)
    return _reading_of(said, log, _before_ave(said), ("event", "range"))


def read_avvp(text: str, canvas: Canvas) -> Reading:
    """`<visual_event>dog,(0 3),(5 8)</visual_event>` gives two visual events; `;` parts the events of one tag."""
    said = _spoken(text)
    log = _Log(canvas)
    tags = ("visual_event", "audio_event", "visual", "audio")
    items = _items(said, tags)
    for item in items:
        log.check(item)
        log.add_brackets(item.content, "visual" if item.tag.startswith("visual") else "audio")
    before = _without_tags(said[: items[0].start], tags) if items else ""
    return _reading_of(said, log, before, tags)


def read_caption(text: str, canvas: Canvas) -> Reading:
    """The whole text as the answer."""
    said = _spoken(text).strip()
    return Reading(Answer(said), problems=() if said else ("the model wrote nothing",))


def write_answer(text: str, reasoning: str = "") -> str:
    """The target of a question; without reasoning only the tagged answer: `<answer> dog </answer>.`."""
    tagged = f"<answer> {text} </answer>."
    return f"{reasoning} So the answer is {tagged}" if reasoning else tagged


def write_ave(events: Sequence[Event], reasoning: str = "") -> str:
    """The target of event localization; ranges of one label stand together, no events give the event `none`."""
    ranges = _by_label(events)
    clauses = [
        f"<event> {label} </event>, and the time range is "
        + " and ".join(f"<range> {_second(start)},{_second(end)} </range>" for start, end in spans)
        for label, spans in ranges.items()
    ]
    said = "; ".join(clauses) or f"<event> {NONE} </event>"
    subject = "events in the video are" if len(ranges) > 1 else "event in the video is"
    return f"{reasoning} So the audible and visible {subject} {said}.".strip()


def write_avvp(events: Sequence[Event], reasoning: str = "") -> str:
    """The target of video parsing: what is seen, then what is heard; an event of track `both` is written as both."""
    parts: list[str] = []
    tracks: tuple[Track, Track] = ("visual", "audio")
    for track in tracks:
        ranges = _by_label([event for event in events if event.track in (track, "both")])
        items = [f"{label},{','.join(_bracket(*span) for span in spans)}" for label, spans in ranges.items()]
        parts += [f"<{track}_event> {item} </{track}_event>" for item in items or [NONE]]
    said = " and ".join(parts)
    return f"{reasoning} {said}.".strip()


@dataclass(frozen=True, slots=True)
class _Item:
    """The text of one tag, where its opening tag starts, and whether it is closed."""

    tag: str
    content: str
    start: int
    closed: bool


@dataclass(slots=True)
class _Log:
    """Collects events in true seconds, and what was wrong with the others."""

    canvas: Canvas
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    said_none: bool = False

    def check(self, item: _Item) -> None:
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
        said = f"{_second(start)} to {_second(end)}"
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


def _reading_of(said: str, log: _Log, reasoning: str, tags: Sequence[str]) -> Reading:
    problems = tuple(dict.fromkeys(log.problems))
    if log.events or log.said_none:
        return Reading(Answer(_told(log.events), reasoning), tuple(log.events), problems=problems)
    untagged = _untagged(_without_tags(said, tags), "event")
    return Reading(untagged.answer, problems=problems or untagged.problems)


def _untagged(text: str, kind: str) -> Reading:
    problem = f"the text has no {kind} tag" if text else "the model wrote nothing"
    return Reading(Answer(text), problems=(problem,))


def _told(events: Iterable[Event]) -> str:
    """`seen: dog from 0 to 10 s; heard: dog from 2 to 5 s`, without the track where it is both."""
    lead = {"both": "", "visual": "seen: ", "audio": "heard: "}
    lines = [
        lead[track] + ", ".join(f"{one.label} from {_second(one.start_s)} to {_second(one.end_s)} s" for one in group)
        for track, group in _by_track(events)
    ]
    return "; ".join(lines) or NONE


def _by_track(events: Iterable[Event]) -> Iterator[tuple[Track, list[Event]]]:
    everything = list(events)
    for track in dict.fromkeys(event.track for event in everything):
        yield track, [event for event in everything if event.track == track]


def _by_label(events: Sequence[Event]) -> dict[str, list[tuple[float, float]]]:
    ranges: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        ranges.setdefault(event.label, []).append((event.start_s, event.end_s))
    return ranges


def _items(text: str, tags: Sequence[str]) -> list[_Item]:
    """The tagged stretches in order; an opening tag ends a stretch that was left open."""
    items: list[_Item] = []
    opened: re.Match[str] | None = None
    for match in _tag_pattern(tags).finditer(text):
        if opened is not None:
            closed = bool(match[1]) and match[2].lower() == opened[2].lower()
            items.append(_Item(opened[2].lower(), text[opened.end() : match.start()], opened.start(), closed))
        opened = None if match[1] else match
    if opened is not None:
        items.append(_Item(opened[2].lower(), text[opened.end() :], opened.start(), False))
    return items


def _tag_pattern(tags: Sequence[str]) -> re.Pattern[str]:
    return re.compile(rf"<\s*(/?)\s*({'|'.join(tags)})\s*>", re.IGNORECASE)


def _without_tags(text: str, tags: Sequence[str]) -> str:
    """The text without those tags, also without one that removing another put together."""
    pattern, before = _tag_pattern(tags), None
    while before != text:
        before, text = text, pattern.sub(" ", text)
    return " ".join(text.split())


def _spoken(text: str) -> str:
    """What was written before the end-of-text token."""
    return _END.split(text, maxsplit=1)[0]


def _before_ave(text: str) -> str:
    """The reasoning of event localization: what comes before the concluding sentence or the first tag."""
    first = _tag_pattern(("event", "range")).search(text)
    return _without_tags(_AVE_LEAD_IN.sub("", text[: first.start()] if first else ""), ("event", "range"))


def _label(text: str) -> str:
    """The name without blanks, marks and an `and` around it."""
    before, name = None, " ".join(text.split())
    while before != name:
        before, name = name, name.strip(_EDGE).removeprefix("and ").strip()
    return "" if name == "and" else name


def _true_second(value: float, canvas: Canvas) -> float:
    inside = min(max(0.0, value), float(canvas.seconds))
    return min(round(inside * canvas.second_s, 3), canvas.duration_s)


def _second(value: float) -> str:
    """`3`, `3.5`: thousandths at most, no zeros at the end."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _bracket(start: float, end: float) -> str:
    return f"({_second(start)} {_second(end)})"


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 40 else f"{words[:39]}…"
