"""Captions of scenes: one to three sentences with what is seen and where, what is heard, how loud and when."""

from __future__ import annotations

from collections.abc import Sequence

from crab_core.world.asking import View
from crab_core.world.dice import Dice
from crab_core.world.labels import HeardFact, SeenFact
from crab_core.world.narration import LEVELS, at, listed, some, span

_SHOWN = ("The video shows {things}.", "The picture has {things}.", "We see {things}.")
_HEARD = ("We hear {sounds}.", "You can hear {sounds}.", "There is the sound of {sounds}.")
_UNSEEN = ("Off screen, {sounds} can be heard.", "Unseen, there is {sounds}.")


def caption(view: View, dice: Dice) -> str:
    """`The video shows a dog on the left and a cup. We hear a loud dog from 2 to 5.`

    Sight comes before sound or after it, in one of several frames.
    """
    shown = dice.pick(_SHOWN).format(things=_things(view))
    near = [fact for fact in view.heard if fact.visible]
    far = [fact for fact in view.heard if not fact.visible]
    sounds = [dice.pick(_HEARD).format(sounds=_sounds(near))] if near else []
    sounds += [dice.pick(_UNSEEN).format(sounds=_sounds(far))] if far else []
    sounds = sounds or ["Nothing is heard."]
    return " ".join([shown, *sounds] if dice.coin(0.7) else [*sounds, shown])


def _things(view: View) -> str:
    return listed([_thing(fact, view.seconds) for fact in view.seen]) if view.seen else "nothing"


def _thing(fact: SeenFact, seconds: int) -> str:
    when = "" if fact.end_s - fact.start_s == seconds else f" {span(fact)}"
    return f"{some(fact.name, fact.count)} {at(fact.place)}{when}"


def _sounds(facts: Sequence[HeardFact]) -> str:
    return listed([f"a {LEVELS[fact.level]} {fact.name} {span(fact)}" for fact in facts])
