"""The classes of the generated world: what it can show and let sound, and what it only shows.

A static table without numpy, so that questions and vocabularies can read it for free. The bank (bank.py) holds
sprites for every class and sounds for every sounding one, in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SoundClass:
    """One class: its name, how its sounds are played and the words that questions need.

    kind: `note` and `hit` are single sounds that a scene triggers again and again, `loop` is audible during its whole
    length and may be laid end to end, `none` makes no sound.
    plural: "how many {plural} ..."; article: "is there {article} {name} ...".
    """

    name: str
    kind: Literal["note", "hit", "loop", "none"]
    plural: str
    article: Literal["a", "an"] = "a"


SOUNDING: tuple[SoundClass, ...] = (
    SoundClass("guitar", "note", "guitars"),
    SoundClass("violin", "note", "violins"),
    SoundClass("trumpet", "note", "trumpets"),
    SoundClass("saxophone", "note", "saxophones"),
    SoundClass("piano", "note", "pianos"),
    SoundClass("accordion", "note", "accordions", "an"),
    SoundClass("banjo", "note", "banjos"),
    SoundClass("flute", "note", "flutes"),
    SoundClass("bell", "note", "bells"),
    SoundClass("drum", "hit", "drums"),
    SoundClass("maracas", "hit", "maracas"),
    SoundClass("bird", "loop", "birds"),
    SoundClass("telephone", "loop", "telephones"),
    SoundClass("helicopter", "loop", "helicopters"),
    SoundClass("applause", "loop", "clapping hands", "an"),
    SoundClass("wave", "loop", "waves"),
    SoundClass("person", "loop", "people"),
    SoundClass("siren", "loop", "sirens"),
    SoundClass("alarm", "loop", "alarms", "an"),
    SoundClass("dog", "loop", "dogs"),
    SoundClass("cat", "loop", "cats"),
    SoundClass("cow", "loop", "cows"),
    SoundClass("bee", "loop", "bees"),
    SoundClass("frog", "loop", "frogs"),
)

SILENT: tuple[SoundClass, ...] = (
    SoundClass("apple", "none", "apples", "an"),
    SoundClass("ball", "none", "balls"),
    SoundClass("tree", "none", "trees"),
    SoundClass("book", "none", "books"),
    SoundClass("cup", "none", "cups"),
    SoundClass("house", "none", "houses"),
    SoundClass("chair", "none", "chairs"),
    SoundClass("balloon", "none", "balloons"),
)
