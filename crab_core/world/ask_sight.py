"""Question templates about what is seen.

Reasoning lists what the question is about and says which of it is meant. Where a question names the thing itself, it
says at once what decides; where it names a place, one thing after the other, up to the one that is there.
"""

from __future__ import annotations

from collections.abc import Mapping

from crab_core.world.asking import ALL_NAMES, Ask, Draft, View, by_start, counted, either, naming, noun, seen_of, yes_no
from crab_core.world.dice import Dice
from crab_core.world.labels import SeenFact
from crab_core.world.narration import at, listed, see, see_starts, span
from crab_core.world.spec import COLUMNS

HEARD_ONLY_SHARE = 0.5  # of the unseen things asked for: things that are heard from off screen


def seen_exists(view: View, dice: Dice) -> Draft | None:
    """Is there a dog in the video?"""
    found = either(dice, list(view.seen_by), _unseen(view, dice))
    return found and Draft(yes_no(found[0]), seen_of(view, found[1]), naming(found[1]))


def both_seen(view: View, dice: Dice) -> Draft | None:
    """Are there dogs and cups in the video? A no has one of the two."""
    if not view.seen:
        return None
    first, *rest = dice.shuffled(list(view.seen_by))
    found = either(dice, rest, _unseen(view, dice))
    if found is None:
        return None
    x, y = dice.shuffled((first, found[1]))
    return Draft(yes_no(found[0]), seen_of(view, x, y), naming(x, y))


def things_count(view: View, dice: Dice) -> Draft | None:
    """How many things are in the video? Two dogs are two things."""
    return counted(sum(fact.count for fact in view.seen), see(view.seen))


def kinds_count(view: View, dice: Dice) -> Draft | None:
    """How many kinds of things are in the video? Two dogs are one kind."""
    return counted(len(view.seen), see(view.seen))


def count_of(view: View, dice: Dice) -> Draft | None:
    """How many dogs are in the video? Pairs are asked for whenever there are some."""
    pairs = [fact.name for fact in view.seen if fact.count > 1]
    if pairs and dice.coin(0.8):
        pair = dice.pick(pairs)
        return counted(2, seen_of(view, pair), naming(pair))
    found = either(dice, [fact.name for fact in view.seen if fact.count == 1], _unseen(view, dice))
    return found and counted(int(found[0]), seen_of(view, found[1]), naming(found[1]))


def where(view: View, dice: Dice) -> Draft | None:
    """Where is the dog? Only what stands in one column."""
    facts = _placed(view)
    if not facts:
        return None
    fact = dice.pick(facts)
    return Draft(fact.place, _stands(fact), naming(fact.name))


def what_at(view: View, dice: Dice) -> Draft | None:
    """What is on the left? Only a column in which one kind of thing stands."""
    facts = _placed(view)
    alone = [fact for fact in facts if sum(other.place == fact.place for other in facts) == 1]
    if not alone or len(facts) < len(view.seen):
        return None
    fact = dice.pick(alone)
    until = facts[: facts.index(fact) + 1]
    return Draft(fact.name, " ".join(map(_stands, until)), {"at_side": at(fact.place)})


def left_of(view: View, dice: Dice) -> Draft | None:
    """Is the dog to the left of the cup?"""
    pairs = [(one, two) for one in _placed(view) for two in _placed(view) if _column(one) < _column(two)]
    if not pairs:
        return None
    left, right = dice.pick(pairs)
    is_left = dice.coin()
    x, y = (left, right) if is_left else (right, left)
    said = f"The {x.name} is {at(x.place)} and the {y.name} is {at(y.place)}"
    said += f", so the {x.name} is further {'left' if is_left else 'right'}."
    return Draft(yes_no(is_left), said, naming(x.name, y.name))


def appears_first(view: View, dice: Dice) -> Draft | None:
    """What appears first? Not asked if two things come together."""
    first, other, *_ = [*by_start(view.seen), None, None]
    if first is None or other is None or first.start_s == other.start_s:
        return None
    return Draft(first.name, f"{see_starts(by_start(view.seen))} The first is the {first.name}.", {})


def what_seen(view: View, dice: Dice) -> Draft | None:
    """What do you see? The answer lists everything once."""
    return Draft(listed(list(view.seen_by)), "", noun(dice, view.seen_by)) if view.seen else None


def when_seen(view: View, dice: Dice) -> Draft | None:
    """When is the dog seen? The answer is `from 2 to 8`."""
    if not view.seen:
        return None
    fact = dice.pick(view.seen)
    return Draft(span(fact), "", naming(fact.name))


def _unseen(view: View, dice: Dice) -> list[str]:
    heard_only = [fact.name for fact in view.heard if not fact.visible]
    if heard_only and dice.coin(HEARD_ONLY_SHARE):
        return heard_only
    return [name for name in ALL_NAMES if name not in view.seen_by]


def _placed(view: View) -> list[SeenFact]:
    return [fact for fact in view.seen if fact.place in COLUMNS]


def _stands(fact: SeenFact) -> str:
    return f"The {fact.name} is {at(fact.place)}."


def _column(fact: SeenFact) -> int:
    return [str(column) for column in COLUMNS].index(fact.place)


ASKS: Mapping[str, Ask] = {
    "seen_exists": seen_exists,
    "both_seen": both_seen,
    "things_count": things_count,
    "kinds_count": kinds_count,
    "count_of": count_of,
    "where": where,
    "what_at": what_at,
    "left_of": left_of,
    "appears_first": appears_first,
    "what_seen": what_seen,
    "when_seen": when_seen,
}
