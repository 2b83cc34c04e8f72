"""What tasks about single pictures share: the second's name in a wording, an answer that nothing is there, classes.

Source of the classes: AVSBench's semantic subset (arXiv 2301.13190), 71 of them with the background as number 0, the
others by alphabet. Only the last one's name is published with the Crab code; the others are told by their number.
"""

from __future__ import annotations

from dataclasses import replace

from crab_core.types import Prompt

SECOND = "<second>"  # in a wording, where the picture's second is named; no question can hold it
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
NOTHING = frozenset({"", "nothing", "none", "null", "no object", "no one", "background"})
CLASSES = 71
_KNOWN = {0: "background", 70: "woman"}


def ordinal(number: int) -> str:
    """`ordinal(1)` is `first`; after the tenth, `11th`."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def at_second(prompt: Prompt, number: int) -> Prompt:
    """The prompt with the picture's second, counted from 1, in the place of `<second>`."""
    word = ordinal(number)
    return Prompt(tuple(replace(part, text=part.text.replace(SECOND, word)) for part in prompt.parts))


def is_nothing(label: str) -> bool:
    """True for the words with which a model says that nothing matches."""
    return label.strip().strip(".").lower() in NOTHING


def class_name(index: int) -> str:
    """`woman` of 70, `class 23` of one whose name is not known."""
    return _KNOWN.get(index, f"class {index}")
