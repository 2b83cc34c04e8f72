"""What a question template works with: the facts of a scene looked up by name, and the draft that it makes.

A template decides by a coin which answer it wants before it looks for a question that has it, so that yes and no are
alike. It gives None where the scene has no such question, or an ambiguous one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from crab_core.world.classes import SILENT, SOUNDING
from crab_core.world.dice import Dice
from crab_core.world.labels import HeardFact, SceneLabels, SeenFact
from crab_core.world.narration import CLASSES, INSTRUMENTS, a, at, hear, hear_levels, meant, named, number, see
from crab_core.world.spec import COLUMNS

SOUNDING_NAMES: tuple[str, ...] = tuple(one.name for one in SOUNDING)
ALL_NAMES: tuple[str, ...] = tuple(one.name for one in (*SOUNDING, *SILENT))


@dataclass(frozen=True, slots=True)
class View:
    """The facts of one scene: by the alphabet, and by name (a class comes once in a scene).

    One order for every list of names: what comes next in it then follows from the last name and from what is left, and
    no name can come twice. Lists of starts or levels begin with what is asked for.
    """

    seconds: int
    seen: tuple[SeenFact, ...]
    heard: tuple[HeardFact, ...]
    seen_by: Mapping[str, SeenFact]
    heard_by: Mapping[str, HeardFact]

    @classmethod
    def of(cls, labels: SceneLabels) -> View:
        """The view of a scene's labels."""
        seen = tuple(sorted(labels.seen, key=lambda fact: fact.name))
        heard = tuple(sorted(labels.heard, key=lambda fact: fact.name))
        seen_by = {fact.name: fact for fact in seen}
        return cls(labels.seconds, seen, heard, seen_by, {fact.name: fact for fact in heard})

    @property
    def both(self) -> list[HeardFact]:
        """What is heard and is seen at some time."""
        return [fact for fact in self.heard if fact.visible]


@dataclass(frozen=True, slots=True)
class Draft:
    """The answer, the reasoning and what fills the slots of the phrasing."""

    answer: str
    reasoning: str
    slots: Mapping[str, str]


Fact = TypeVar("Fact", SeenFact, HeardFact)
Ask = Callable[[View, Dice], Draft | None]


def yes_no(is_so: bool) -> str:
    """`yes` or `no`."""
    return "yes" if is_so else "no"


def naming(x: str, y: str | None = None) -> dict[str, str]:
    """The slots of one or two names, with their articles, plurals and verbs."""
    plays = x in INSTRUMENTS and (y is None or y in INSTRUMENTS)
    slots = {"x": x, "a_x": a(x), "xs": CLASSES[x].plural, "playing": "playing" if plays else "sounding"}
    slots["play"] = "play" if plays else "sound"
    return slots if y is None else {**slots, "y": y, "a_y": a(y), "ys": CLASSES[y].plural}


def noun(dice: Dice, names: Iterable[str]) -> dict[str, str]:
    """The slots that speak of all these names at once; `instrument` only if each is one."""
    word = dice.pick(("thing", "object"))
    if dice.coin(0.6) and all(name in INSTRUMENTS for name in names):
        word = "instrument"
    return {"noun": word, "nouns": f"{word}s"}


def either(dice: Dice, if_yes: Sequence[str], if_no: Sequence[str]) -> tuple[bool, str] | None:
    """Yes or no by a coin, then a name that has it; None if there is no such name."""
    wanted = dice.coin()
    names = if_yes if wanted else if_no
    return (wanted, dice.pick(names)) if names else None


def swapped(dice: Dice, pair: Sequence[HeardFact], is_so: bool) -> tuple[str, str, bool]:
    """The names of a pair in the order that makes the wanted answer true, and that answer."""
    wanted = dice.coin()
    first, second = (pair[0], pair[1]) if wanted == is_so else (pair[1], pair[0])
    return first.name, second.name, wanted


def two(dice: Dice, facts: Sequence[HeardFact]) -> list[HeardFact]:
    """Two of the facts in their own order; none if there are fewer."""
    chosen = dice.shuffled(range(len(facts)))[:2]
    return [facts[index] for index in sorted(chosen)] if len(chosen) == 2 else []


def place_of(fact: HeardFact | None, word: str, reasoning: str, slots: Mapping[str, str]) -> Draft | None:
    """The draft whose answer is where the `first` or `loudest` sounding thing is; None if it has no single column."""
    if fact is None or fact.place not in COLUMNS:
        return None
    return Draft(fact.place, f"{reasoning} The {word} is the {fact.name}, {at(fact.place)}.", slots)


def by_start(facts: Iterable[Fact]) -> list[Fact]:
    """The facts in the order in which they start, then of their name."""
    return sorted(facts, key=lambda fact: (fact.start_s, fact.name))


def by_loudness(facts: Iterable[HeardFact]) -> list[HeardFact]:
    """The facts from the loudest to the softest."""
    return sorted(facts, key=lambda fact: (-fact.level_db, fact.name))


def by_level(view: View, dice: Dice, *, loud: bool) -> Draft | None:
    """What is loudest or softest among at least two sounds."""
    if len(view.heard) < 2:
        return None
    ranked = by_loudness(view.heard)[:: 1 if loud else -1]
    said = f"{hear_levels(ranked)} The {'loudest' if loud else 'softest'} is the {ranked[0].name}."
    return Draft(ranked[0].name, said, noun(dice, view.heard_by))


def heard_of(view: View, name: str) -> str:
    """`I hear a frog and a bell. What I hear of that: bell.`"""
    return f"{hear(view.heard)} {meant('hear of that', [named(name, name in view.heard_by)])}"


def seen_of(view: View, *names: str) -> str:
    """`I see a bell and two cups. What I see of that: cups.`"""
    counts = [view.seen_by[name].count if name in view.seen_by else 0 for name in names]
    said = [named(name, count) for name, count in zip(names, counts, strict=True)]
    return f"{see(view.seen)} {meant('see of that', said)}"


def counted(count: int, reasoning: str, slots: Mapping[str, str] | None = None) -> Draft:
    """The draft whose answer is a number word."""
    return Draft(number(count), reasoning, slots or {})
