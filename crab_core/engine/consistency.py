"""Does the explanation say what the answer says, and does the answer tell of sounds where there are some?

Both are checks of what was written, not of whether it is true: a model may be consistent and wrong. What cannot be
read plainly is not judged, so that an empty list is no proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from crab_core.tasks.claims import RANGE, Claim, claims, mentions, tells_of_sound
from crab_core.types import SAMPLE_RATE_HZ, Clip, Event, Reading, Track

SILENT = 10 ** (-60 / 20)  # of full scale; a quiet room is louder

_HOW: dict[Track, str] = {"audio": "heard", "visual": "seen", "both": "seen and heard"}


@dataclass(frozen=True, slots=True)
class Scale:
    """How the model's seconds become those of the clip: their length, and where the first one begins."""

    second_s: float = 1.0
    start_s: float = 0.0

    @property
    def slack_s(self) -> float:
        """How far apart two times may be that say the same: models tell whole seconds of their own."""
        return self.second_s

    def span(self, start_s: float, end_s: float) -> str:
        """`from 2 to 5 s` of the clip, for times that count from the scale's start."""
        return f"from {round(self.start_s + start_s, 2):g} to {round(self.start_s + end_s, 2):g} s"


def contradictions(reading: Reading, clip: Clip, scale: Scale) -> tuple[str, ...]:
    """What contradicts what, one sentence each, in true seconds; events are those of the reading, from 0 on.

    Events are compared with the explanation and with the sound; without events, the times of a short answer are.
    """
    explanation = reading.answer.reasoning if reading.answer is not None else ""
    told = [*_against_explanation(reading, explanation, scale), *_against_sound(reading, explanation, clip, scale)]
    return tuple(dict.fromkeys(told))


@dataclass(frozen=True, slots=True)
class _Told:
    """A claim in the form of an event, in the model's own seconds."""

    name: str
    track: Track
    start: float
    end: float


def _against_explanation(reading: Reading, explanation: str, scale: Scale) -> Iterable[str]:
    if not explanation:
        return
    names = list(dict.fromkeys(event.label for event in reading.events))
    for name in names:
        if not mentions(explanation, name):
            yield f"the answer names '{name}', which the explanation does not mention"
    if reading.events:
        found = claims(explanation, names)
        is_joint = all(event.track == "both" for event in reading.events)
        told = _joint(found) if is_joint else [_Told(one.name, one.sense, one.start, one.end) for one in found]
        yield from _against_claims(reading.events, told, scale)
    elif reading.answer is not None:
        yield from _against_times(reading.answer.text, explanation, scale)


def _joint(found: Sequence[Claim]) -> list[_Told]:
    """When a thing is claimed to be seen and heard at once."""
    return [
        _Told(seen.name, "both", max(seen.start, heard.start), min(seen.end, heard.end))
        for seen in found
        for heard in found
        if (seen.sense, heard.sense) == ("visual", "audio")
        and seen.name.lower() == heard.name.lower()
        and max(seen.start, heard.start) < min(seen.end, heard.end)
    ]


def _against_claims(events: Sequence[Event], told: Sequence[_Told], scale: Scale) -> Iterable[str]:
    """Claims of which the answer says nothing, or something else."""
    for one in told:
        start_s, end_s = one.start * scale.second_s, one.end * scale.second_s
        same = [e for e in events if e.label.lower() == one.name.lower() and e.track in (one.track, "both")]
        if any(abs(e.start_s - start_s) <= scale.slack_s and abs(e.end_s - end_s) <= scale.slack_s for e in same):
            continue
        said = f"the explanation says that '{one.name}' is {_HOW[one.track]} {scale.span(start_s, end_s)}, the answer "
        yield said + (", ".join(scale.span(e.start_s, e.end_s) for e in same) or "does not name it so")


def _against_times(answer: str, explanation: str, scale: Scale) -> Iterable[str]:
    """Times of a short answer that the explanation, which has times, does not give."""
    given, explained = (
        [(float(match[1]) * scale.second_s, float(match[2]) * scale.second_s) for match in RANGE.finditer(text)]
        for text in (answer, explanation)
    )
    for start_s, end_s in given if explained else []:
        if not any(abs(start_s - a) <= scale.slack_s and abs(end_s - b) <= scale.slack_s for a, b in explained):
            spans = ", ".join(scale.span(a, b) for a, b in explained)
            yield f"the answer says {scale.span(start_s, end_s)}, the explanation {spans}"


def _against_sound(reading: Reading, explanation: str, clip: Clip, scale: Scale) -> Iterable[str]:
    """Events that are told as heard where nothing sounds."""
    heard = [event for event in reading.events if event.track != "visual"]
    silence = _silence(clip)
    for event in heard:
        said = f"'{event.label}' is told as heard {scale.span(event.start_s, event.end_s)}, and "
        if clip.audio == "absent":
            yield said + "there is no sound track"
        elif _is_silent(event, silence, scale):
            yield said + "the sound track is silent then"
    if not heard and clip.audio in ("absent", "silent") and tells_of_sound(explanation):
        lacking = "there is no sound track" if clip.audio == "absent" else "the sound track is silent"
        yield f"the explanation tells of something heard, and {lacking}"


def _silence(clip: Clip) -> list[tuple[float, float, bool]]:
    """Start and end of each window of sound, and whether it is silent."""
    found, at = [], 0
    for start_s, end_s in clip.sound_windows_s:
        samples = round((end_s - start_s) * SAMPLE_RATE_HZ)
        piece = clip.waveform[at : at + samples]
        found.append((start_s, end_s, not len(piece) or float(np.abs(piece).max()) < SILENT))
        at += samples
    return found


def _is_silent(event: Event, silence: Sequence[tuple[float, float, bool]], scale: Scale) -> bool:
    """True if most of what was listened to of the event is silent."""
    start_s, end_s = event.start_s + scale.start_s, event.end_s + scale.start_s
    shares = [(max(0.0, min(end_s, b) - max(start_s, a)), is_silent) for a, b, is_silent in silence]
    listened = sum(share for share, _ in shares)
    return listened > 0 and sum(share for share, is_silent in shares if is_silent) > listened / 2
