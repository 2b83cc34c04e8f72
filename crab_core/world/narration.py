"""Facts of a scene as short sentences: the reasoning before an answer, and the pieces of captions.

Facts stand in the order in which they are given: the alphabet's (`asking.View`), or that of the times or levels told.
Times are whole seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from crab_core.world.classes import SILENT, SOUNDING, SoundClass
from crab_core.world.labels import HeardFact, Level, SeenFact

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
CLASSES: Mapping[str, SoundClass] = {one.name: one for one in (*SOUNDING, *SILENT)}
LEVELS: Mapping[Level, str] = {"loud": "loud", "medium": "fairly loud", "soft": "soft"}
INSTRUMENTS = frozenset(one.name for one in SOUNDING if one.kind in ("note", "hit"))


def number(count: int) -> str:
    """`two` for 2; digits above ten."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)


def a(name: str) -> str:
    """`an alarm`, `a dog`."""
    return f"{CLASSES[name].article} {name}"


def some(name: str, count: int) -> str:
    """`a dog` for one, `two dogs` for two."""
    return a(name) if count == 1 else f"{number(count)} {CLASSES[name].plural}"


def at(place: str) -> str:
    """`on the left`, `in the middle`, `off screen`."""
    return {"middle": "in the middle", "several": "on both sides", "off screen": "off screen"}.get(
        place, f"on the {place}"
    )


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def span(fact: SeenFact | HeardFact) -> str:
    """`from 2 to 5`."""
    return f"from {fact.start_s} to {fact.end_s}"


def lasting(fact: SeenFact | HeardFact) -> str:
    """`from 2 to 5, for 3 seconds`."""
    return f"{span(fact)}, for {fact.end_s - fact.start_s} seconds"


def hear(facts: Iterable[HeardFact]) -> str:
    """`I hear a bell and a dog.`"""
    return _sentence("I hear", [a(fact.name) for fact in facts])


def see(facts: Iterable[SeenFact]) -> str:
    """`I see a bell and two cups.`"""
    return _sentence("I see", [some(fact.name, fact.count) for fact in facts])


def named(name: str, count: int = 1) -> str:
    """`bell`, `bells` for two of them, `nothing` for none."""
    return "nothing" if not count else name if count == 1 else CLASSES[name].plural


def meant(sense: str, items: Sequence[str]) -> str:
    """`What I hear of that: bell.` for `hear of that`; nothing if there are no items."""
    return f"What I {sense}: {', '.join(items) or 'nothing'}."


def told(clauses: Sequence[str]) -> str:
    """The clauses as one sentence."""
    return _sentence("", clauses)


def hear_starts(facts: Iterable[HeardFact]) -> str:
    """`I hear a bell from 0 and a dog from 2.`"""
    return _sentence("I hear", [f"{a(fact.name)} from {fact.start_s}" for fact in facts])


def see_starts(facts: Iterable[SeenFact]) -> str:
    """`I see a bell from 0 and two dogs from 2.`"""
    return _sentence("I see", [f"{some(fact.name, fact.count)} from {fact.start_s}" for fact in facts])


def hear_when(facts: Iterable[HeardFact]) -> str:
    """`I hear a bell from 0 to 4 and a dog from 2 to 5.`"""
    return _sentence("I hear", [f"{a(fact.name)} {span(fact)}" for fact in facts])


def hear_levels(facts: Iterable[HeardFact]) -> str:
    """`The bell is soft and the dog is fairly loud.`"""
    return _sentence("", [f"the {fact.name} is {LEVELS[fact.level]}" for fact in facts])


def _sentence(lead: str, items: Sequence[str]) -> str:
    said = f"{lead} {listed(items) if items else 'nothing'}".strip()
    return f"{said[0].upper()}{said[1:]}."
