"""Finding `<tag> ... </tag>` in whatever a model wrote, also where tags are left open or strangely spelt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_END = re.compile(r"</s>|<\|im_end\|>|<\|endoftext\|>")


@dataclass(frozen=True, slots=True)
class Item:
    """The text of one tag, where its opening tag starts, and whether it is closed."""

    tag: str
    content: str
    start: int
    closed: bool


def tagged(text: str, tags: Sequence[str]) -> list[Item]:
    """The tagged stretches in order; an opening tag ends a stretch that was left open."""
    items: list[Item] = []
    opened: re.Match[str] | None = None
    for match in tag_pattern(tags).finditer(text):
        if opened is not None:
            closed = bool(match[1]) and match[2].lower() == opened[2].lower()
            items.append(Item(opened[2].lower(), text[opened.end() : match.start()], opened.start(), closed))
        opened = None if match[1] else match
    if opened is not None:
        items.append(Item(opened[2].lower(), text[opened.end() :], opened.start(), False))
    return items


def tag_pattern(tags: Sequence[str]) -> re.Pattern[str]:
    """Matches an opening or closing tag; group 1 is the slash, group 2 the name."""
    return re.compile(rf"<\s*(/?)\s*({'|'.join(tags)})\s*>", re.IGNORECASE)


def without_tags(text: str, tags: Sequence[str]) -> str:
    """The text without those tags, also without one that removing another put together."""
    pattern, before = tag_pattern(tags), None
    while before != text:
        before, text = text, pattern.sub(" ", text)
    return " ".join(text.split())


def spoken(text: str) -> str:
    """What was written before the end-of-text token, without blanks around it."""
    return _END.split(text, maxsplit=1)[0].strip()


def one_line(text: str) -> str:
    """The same with single blanks, so that a model which repeats blanks for ever costs no time in later patterns."""
    return " ".join(spoken(text).split())
