"""Question templates about what is heard.

Reasoning lists what the question is about and says which of it is meant. Where a question names the things itself,
it says at once of them what decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from crab_core.world.asking import (
    SOUNDING_NAMES,
    Ask,
    Draft,
    View,
    by_level,
    counted,
    either,
    heard_of,
    naming,
    noun,
    swapped,
    two,
    yes_no,
)
from crab_core.world.dice import Dice
from crab_core.world.narration import hear, hear_levels, lasting, listed, span

SEEN_ONLY_SHARE = 0.6  # of the absent sounds asked for: of things that the video shows


def sound_exists(view: View, dice: Dice) -> Draft | None:
    """Is there a dog sound? Absent sounds are often those of visible things."""
    mute = [fact.name for fact in view.seen if fact.can_sound and not fact.sounding]
    if not (mute and dice.coin(SEEN_ONLY_SHARE)):
        mute = [name for name in SOUNDING_NAMES if name not in view.heard_by]
    asked = either(dice, list(view.heard_by), mute)
    return asked and Draft(yes_no(asked[0]), heard_of(view, asked[1]), naming(asked[1]))


def sounds_count(view: View, dice: Dice) -> Draft | None:
    """How many different sounds are there?"""
    return counted(len(view.heard), hear(view.heard), noun(dice, view.heard_by))


def louder(view: View, dice: Dice) -> Draft | None:
    """Is the bell louder than the dog?"""
    pair = two(dice, view.heard)
    if not pair:
        return None
    x, y, wanted = swapped(dice, pair, pair[0].level_db > pair[1].level_db)
    told = hear_levels([view.heard_by[x], view.heard_by[y]])[:-1]
    return Draft(yes_no(wanted), f"{told}, so the {x} is {'louder' if wanted else 'softer'}.", naming(x, y))


def longer(view: View, dice: Dice) -> Draft | None:
    """Is the bell heard for longer than the dog? Not asked if both last the same time."""
    pair = two(dice, view.heard)
    lengths = [fact.end_s - fact.start_s for fact in pair]
    if not pair or lengths[0] == lengths[1]:
        return None
    x, y, wanted = swapped(dice, pair, lengths[0] > lengths[1])
    told = f"The {x} is heard {lasting(view.heard_by[x])}, and the {y} {lasting(view.heard_by[y])}"
    told += f", so the {x} is heard {'longer' if wanted else 'shorter'}."
    return Draft(yes_no(wanted), told, naming(x, y))


def what_heard(view: View, dice: Dice) -> Draft | None:
    """What do you hear? The answer lists everything once."""
    return Draft(listed(list(view.heard_by)), "", noun(dice, view.heard_by)) if view.heard else None


def when_heard(view: View, dice: Dice) -> Draft | None:
    """When is the dog heard? The answer is `from 2 to 8`."""
    if not view.heard:
        return None
    fact = dice.pick(view.heard)
    return Draft(span(fact), "", naming(fact.name))


ASKS: Mapping[str, Ask] = {
    "sound_exists": sound_exists,
    "sounds_count": sounds_count,
    "louder": louder,
    "longer": longer,
    "loudest": partial(by_level, loud=True),
    "softest": partial(by_level, loud=False),
    "what_heard": what_heard,
    "when_heard": when_heard,
}
