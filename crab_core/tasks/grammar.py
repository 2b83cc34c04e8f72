"""The formats in which models write answers and events, and the readers that turn text into a `Reading`.

One home for both directions: what a writer writes, the reader of the same task reads back. A reader never raises:
what it cannot use becomes a problem of the reading. Source of the formats: the AV-UIE targets of the Crab release,
with `<visual_event>` and `<audio_event>` in place of `<visual>` and `<audio>` (the latter is a splice token there);
both spellings are read. Seconds in texts are the model's own, whole and counted from 0; an end is exclusive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from crab_core.tasks.event_log import NONE, EventLog, second
from crab_core.tasks.tags import one_line, spoken, tag_pattern, tagged, without_tags
from crab_core.types import Answer, Canvas, Event, Reading, Track

_LEAD_IN = re.compile(r"\b(?:so|therefore|thus|hence)\s*,?\s*the answer is\s*:?\s*$", re.IGNORECASE)
_AVE_LEAD_IN = re.compile(
    r"\b(?:so|therefore|thus|hence)\s*,?\s*the audible and visible\b.*$", re.IGNORECASE | re.DOTALL
)


def read_answer(text: str, canvas: Canvas) -> Reading:
    """`The dog is heard. So the answer is <answer> dog </answer>.` gives answer `dog` and what was said before it.

    Without tags the whole text is the answer. `canvas` is not needed; every reader takes one.
    """
    said = one_line(text)
    items = [item for item in tagged(said, ("answer",)) if item.content.strip()]
    if not items:
        return _untagged(without_tags(said, ("answer",)), "answer")
    first = items[0]
    problems = [] if first.closed else ["the answer tag is not closed"]
    if len(items) > 1:
        problems.append(f"{len(items)} answers were given and the first one was taken")
    reasoning = without_tags(said[: first.start], ("answer",))
    while _LEAD_IN.search(reasoning):
        reasoning = _LEAD_IN.sub("", reasoning).strip()
    return Reading(Answer(" ".join(first.content.split()), reasoning), problems=tuple(problems))


def read_ave(text: str, canvas: Canvas) -> Reading:
    """`<event> dog </event>, and the time range is <range> 0,8 </range>` gives one event on both tracks.

    An event may have several ranges; `<event>dog,(0 8)</event>` is read too.
    """
    said = one_line(text)
    log = EventLog(canvas)
    label, pending = "", ""
    early: list[str] = []
    for item in tagged(said, ("event", "range")):
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
    said = one_line(text)
    log = EventLog(canvas)
    tags = ("visual_event", "audio_event", "visual", "audio")
    items = tagged(said, tags)
    for item in items:
        log.check(item)
        log.add_brackets(item.content, "visual" if item.tag.startswith("visual") else "audio")
    before = without_tags(said[: items[0].start], tags) if items else ""
    return _reading_of(said, log, before, tags)


def read_caption(text: str, canvas: Canvas) -> Reading:
    """The whole text as the answer."""
    said = spoken(text)
    return Reading(Answer(said), problems=() if said else ("the model wrote nothing",))


def write_answer(text: str, reasoning: str = "") -> str:
    """The target of a question; without reasoning only the tagged answer: `<answer> dog </answer>.`."""
    answer = f"<answer> {text} </answer>."
    return f"{reasoning} So the answer is {answer}" if reasoning else answer


def write_ave(events: Sequence[Event], reasoning: str = "") -> str:
    """The target of event localization; ranges of one label stand together, no events give the event `none`."""
    ranges = _by_label(events)
    clauses = [
        f"<event> {label} </event>, and the time range is "
        + " and ".join(f"<range> {second(start)},{second(end)} </range>" for start, end in spans)
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


def told_events(events: Iterable[Event]) -> str:
    """Events as an answer: `seen: dog from 0 to 10 s; heard: dog from 2 to 5 s`, without the track where it is both."""
    lead = {"both": "", "visual": "seen: ", "audio": "heard: "}
    lines = [
        lead[track] + ", ".join(f"{one.label} from {second(one.start_s)} to {second(one.end_s)} s" for one in group)
        for track, group in _by_track(events)
    ]
    return "; ".join(lines) or NONE


def _reading_of(said: str, log: EventLog, reasoning: str, tags: Sequence[str]) -> Reading:
    problems = tuple(dict.fromkeys(log.problems))
    if log.events or log.said_none:
        return Reading(Answer(told_events(log.events), reasoning), tuple(log.events), problems=problems)
    untagged = _untagged(without_tags(said, tags), "event")
    return Reading(untagged.answer, problems=problems or untagged.problems)


def _untagged(text: str, kind: str) -> Reading:
    problem = f"the text has no {kind} tag" if text else "the model wrote nothing"
    return Reading(Answer(text), problems=(problem,))


def _by_track(events: Iterable[Event]) -> Iterator[tuple[Track, list[Event]]]:
    everything = list(events)
    for track in dict.fromkeys(event.track for event in everything):
        yield track, [event for event in everything if event.track == track]


def _by_label(events: Sequence[Event]) -> dict[str, list[tuple[float, float]]]:
    ranges: dict[str, list[tuple[float, float]]] = {}
    for event in events:
        ranges.setdefault(event.label, []).append((event.start_s, event.end_s))
    return ranges


def _before_ave(text: str) -> str:
    """The reasoning of event localization: what comes before the concluding sentence or the first tag."""
    first = tag_pattern(("event", "range")).search(text)
    return without_tags(_AVE_LEAD_IN.sub("", text[: first.start()] if first else ""), ("event", "range"))


def _bracket(start: float, end: float) -> str:
    return f"({second(start)} {second(end)})"
