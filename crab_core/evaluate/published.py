"""The scorers that the field runs on raw texts of this style (published with MokA), for comparison with papers.

They are kinder than ours and are named apart wherever they are shown. Answers outside a list of 42 words leave the
denominator. An event's last second counts as inside, and a clip whose text cannot be read counts as right in all its
seconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crab_core.errors import UsageError
from crab_core.evaluate.bootstrap import Counts, counts

SECONDS = 10
ANSWERS = frozenset(
    [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "more than ten",
        "yes",
        "no",
    ]
    + [
        "left",
        "middle",
        "right",
        "indoor",
        "outdoor",
        "simultaneously",
        "pipa",
        "congas",
        "saxophone",
        "tuba",
        "guzheng",
    ]
    + ["drum", "suona", "piano", "acoustic_guitar", "trumpet", "violin", "flute", "clarinet", "bagpipe", "accordion"]
    + ["cello", "electric_bass", "erhu", "ukulele", "bassoon", "banjo", "xylophone"]
)
AVE_CLASSES = (
    "Church bell", "Male speech, man speaking", "Bark", "Fixed-wing aircraft, airplane", "Race car, auto racing",
    "Female speech, woman speaking", "Helicopter", "Violin, fiddle", "Flute", "Ukulele", "Frying (food)", "Truck",
    "Shofar", "Motorcycle", "Acoustic guitar", "Train horn", "Clock", "Banjo", "Goat", "Baby cry, infant cry", "Bus",
    "Chainsaw", "Cat", "Horse", "Toilet flush", "Rodents, rats, mice", "Accordion", "Mandolin",
)  # fmt: skip
LLP_CLASSES = (
    "Speech", "Car", "Cheering", "Dog", "Cat", "Frying_(food)", "Basketball_bounce", "Fire_alarm", "Chainsaw", "Cello",
    "Banjo", "Singing", "Chicken_rooster", "Violin_fiddle", "Vacuum_cleaner", "Baby_laughter", "Accordion",
    "Lawn_mower", "Motorcycle", "Helicopter", "Acoustic_guitar", "Telephone_bell_ringing", "Baby_cry_infant_cry",
    "Blender", "Clapping",
)  # fmt: skip
_KNOWN = frozenset(name.lower() for name in AVE_CLASSES)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_EVENT = re.compile(r"<event>(.*?)</event>", re.DOTALL)
_RANGE = re.compile(r"<range>\s*(\d+)\s*,\s*(\d+)\s*</range>")
_INSIDE = re.compile(r"(.*?)\s*,?\s*\((\d+)[ ,]+(\d+)\)")


@dataclass(frozen=True, slots=True)
class AnswerText:
    """What a model wrote to a question, and the true answer."""

    clip: str
    text: str
    truth: str


@dataclass(frozen=True, slots=True)
class EventText:
    """What a model wrote of a clip of 10 s, and the true event with its first and last second, both inside."""

    clip: str
    text: str
    label: str
    start_s: int
    end_s: int


def answer_accuracy(rows: Sequence[AnswerText]) -> Counts:
    """Answers that hold the true one, over the answers in the list of 42 words.

    Raises UsageError if no answer is in the list.
    """
    kept = [(row, told) for row in rows if (told := _answer(row.text)) in ANSWERS]
    if not kept:
        raise UsageError("no answer is among the 42 words of the published scorer", hint="Look at the predictions.")
    hits = [(row.truth.strip().lower() in told, 1) for row, told in kept]
    return counts("share", [row.clip for row, _ in kept], hits)


def event_accuracy(rows: Sequence[EventText]) -> Counts:
    """Seconds with the right class or background, over 10 a clip; all 10 are right where the text cannot be read."""
    return counts("share", [row.clip for row in rows], [(_same_seconds(row), SECONDS) for row in rows])


def _answer(text: str) -> str:
    found = _ANSWER.findall(text)
    return found[0].strip().lower() if len(found) == 1 else ""


def _same_seconds(row: EventText) -> int:
    told = _told(row.text)
    if told is None:
        return SECONDS
    true = _held(row.label.lower(), [(row.start_s, row.end_s)])
    return sum(one == other for one, other in zip(told, true, strict=True))


def _told(text: str) -> list[str] | None:
    """The class of each second; None if the text has no event of the 28 classes, or no range."""
    found = _EVENT.findall(text)
    if len(found) != 1:
        return None
    name, ranges = found[0].strip(), _RANGE.findall(text)
    if not ranges and (inside := _INSIDE.fullmatch(name)):
        name, ranges = inside[1], [inside.groups()[1:]]
    if name.lower() not in _KNOWN or not ranges:
        return None
    return _held(name.lower(), [(int(start), int(end)) for start, end in ranges])


def _held(label: str, ranges: Sequence[tuple[int, int]]) -> list[str]:
    return [label if any(start <= second <= end for start, end in ranges) else "" for second in range(SECONDS)]
