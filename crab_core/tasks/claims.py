"""What an explanation claims: which thing is seen or heard from when to when, read out of plain English sentences.

Only what is said plainly is a claim: a name with an article or one that is asked for, a word of seeing or hearing, and
a range of seconds, such as `The piano is seen from 0 to 10 and heard from 0 to 5.`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Sense = Literal["visual", "audio"]

_NUMBER = r"(?:second\s+)?(\d+(?:\.\d+)?)\s*(?:s\b|sec\b|seconds?\b)?"
RANGE = re.compile(rf"\b(?:from|between)\s+{_NUMBER}\s*(?:to|and|until|till|-|–)\s*{_NUMBER}", re.IGNORECASE)
_SENSES: dict[Sense, str] = {"visual": r"see|sees|seen|visible|shown|appears?", "audio": r"hear|hears|heard|audible"}
_SENSE = re.compile("|".join(rf"\b(?P<{name}>{words})\b" for name, words in _SENSES.items()), re.IGNORECASE)
_NAME = re.compile(
    r"\b(?:the|an?)\s+([a-z][a-z'-]*(?:\s+[a-z][a-z'-]*){0,2}?)(?=\s+(?:is|are|from|between|can|and)\b)", re.IGNORECASE
)
_NOTHING = re.compile(r"\b(?:hear|heard)\s+(?:nothing|no|silence)\b|\b(?:no|not|never|nothing|cannot)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Claim:
    """Something is seen, or heard, between two times, in the model's own seconds."""

    name: str
    sense: Sense
    start: float
    end: float


def claims(text: str, names: Sequence[str] = ()) -> list[Claim]:
    """The claims of an explanation, in order; `names` are found without an article too. What denies claims nothing.

    >>> claims("I hear a bell from 0 to 4 and a dog from 2 to 5.")[1]
    Claim(name='dog', sense='audio', start=2.0, end=5.0)
    """
    found = []
    for sentence in sentences(text):
        if _NOTHING.search(sentence):
            continue
        marks = sorted([*_named(sentence, names), *((m.start(), "", m.lastgroup) for m in _SENSE.finditer(sentence))])
        for match in RANGE.finditer(sentence):
            before = [mark for mark in marks if mark[0] < match.start()]
            name = next((name for _, name, _ in reversed(before) if name), "")
            sense = next((sense for _, _, sense in reversed(before) if sense), None)
            start, end = float(match[1]), float(match[2])
            if name and sense and start < end:
                found.append(Claim(name, sense, start, end))  # type: ignore[arg-type]
    return found


def sentences(text: str) -> list[str]:
    """The sentences, also those that a line break or a semicolon parts; a point within a number parts none."""
    return [part.strip() for part in re.split(r"[;!?\n]|\.(?!\d)", text) if part.strip()]


def mentions(text: str, name: str) -> bool:
    """True if the text has the name as words of its own, in any case, also in the plural."""
    words = r"\s+".join(re.escape(word) for word in name.split())
    return bool(words) and bool(re.search(rf"(?<!\w){words}(?:e?s)?(?!\w)", text, re.IGNORECASE))


def tells_of_sound(text: str) -> bool:
    """True if a sentence says that something is heard, and does not deny it."""
    heard = re.compile(rf"\b(?:{_SENSES['audio']})\b", re.IGNORECASE)
    return any(heard.search(sentence) and not _NOTHING.search(sentence) for sentence in sentences(text))


def _named(sentence: str, names: Sequence[str]) -> list[tuple[int, str, str]]:
    """Where the sentence names something: the asked names, and what has an article."""
    found = {match.start(1): match[1].lower() for match in _NAME.finditer(sentence)}
    for name in names:
        pattern = r"\s+".join(re.escape(word) for word in name.split())
        found |= {match.start(): name for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", sentence, re.IGNORECASE)}
    return [(start, name, "") for start, name in found.items()]
