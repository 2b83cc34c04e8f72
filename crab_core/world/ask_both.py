"""Question templates that need sound and sight together, and the temporal ones (audio-visual in MUSIC-AVQA).

Reasoning lists what the question is about and says which of it is meant. Where a question names the things itself,
it says at once of them what decides. What comes first, or last, or is loudest, is the first of its list.
"""

from __future__ import annotations

from collections.abc import Mapping

from crab_core.world.asking import (
    Ask,
    Draft,
    View,
    by_loudness,
    by_start,
    counted,
    either,
    heard_of,
    naming,
    noun,
    place_of,
    seen_of,
    swapped,
    two,
    yes_no,
)
from crab_core.world.dice import Dice
from crab_core.world.labels import HeardFact
from crab_core.world.narration import (
    LEVELS,
    a,
    at,
    hear,
    hear_levels,
    hear_starts,
    hear_when,
    lasting,
    meant,
    named,
    see,
    span,
    told,
)
from crab_core.world.spec import COLUMNS


def always_playing(view: View, dice: Dice) -> Draft | None:
    """Is the guitar always playing? Of things that are seen and heard."""
    whole = [fact.name for fact in view.both if fact.end_s - fact.start_s == view.seconds]
    found = either(dice, whole, [fact.name for fact in view.both if fact.name not in whole])
    if found is None:
        return None
    said = f"The {found[1]} is heard {span(view.heard_by[found[1]])} and the video lasts {view.seconds} seconds"
    said += f", so it sounds {'all' if found[0] else 'some'} of the time."
    return Draft(yes_no(found[0]), said, naming(found[1]))


def always_silent(view: View, dice: Dice) -> Draft | None:
    """Is the guitar always silent? Of visible things that could sound."""
    could = [fact for fact in view.seen if fact.can_sound]
    mute = [fact.name for fact in could if not fact.sounding]
    asked = either(dice, mute, [fact.name for fact in could if fact.sounding])
    return asked and Draft(yes_no(asked[0]), heard_of(view, asked[1]), naming(asked[1]))


def offscreen(view: View, dice: Dice) -> Draft | None:
    """Is there a voiceover, a sound whose source is never seen?"""
    if not view.heard:
        return None
    hidden = [fact.name for fact in view.heard if not fact.visible]
    return Draft(yes_no(bool(hidden)), f"{_lists(view)} {meant('hear and never see', hidden)}", {})


def source_visible(view: View, dice: Dice) -> Draft | None:
    """Can you see the dog that is heard?"""
    found = either(dice, [fact.name for fact in view.both], [fact.name for fact in view.heard if not fact.visible])
    if found is None:
        return None
    return Draft(yes_no(found[0]), seen_of(view, found[1]), naming(found[1]))


def kinds_sounding(view: View, dice: Dice) -> Draft | None:
    """How many kinds of visible things make a sound?"""
    shown = [fact.name for fact in view.seen]
    return counted(len(view.both), f"{_lists(view)} {_those(view, sounding=True)}", noun(dice, shown))


def sounding_count(view: View, dice: Dice) -> Draft | None:
    """How many sounding violins are in the video? Pairs are asked for whenever there are some."""
    could = [fact for fact in view.seen if fact.can_sound]
    pairs = [fact for fact in could if fact.count > 1]
    sounding = [fact for fact in could if fact.sounding]
    options = pairs if pairs and dice.coin(0.8) else sounding if dice.coin() else [f for f in could if not f.sounding]
    if not options:
        return None
    fact = dice.pick(options)
    count = fact.count if fact.sounding else 0
    said = meant("see and hear of that", [named(fact.name, count)])
    return counted(count, f"{_lists(view)} {said}", naming(fact.name))


def silent_count(view: View, dice: Dice) -> Draft | None:
    """How many things in the video never make a sound?"""
    mute = sum(fact.count for fact in view.seen if not fact.sounding)
    return counted(mute, f"{_lists(view)} {_those(view, sounding=False)}")


def where_loudest(view: View, dice: Dice) -> Draft | None:
    """Where is the loudest thing?"""
    if not view.heard:
        return None
    ranked = by_loudness(view.heard)
    return place_of(ranked[0], "loudest", hear_levels(ranked), noun(dice, view.heard_by))


def where_first(view: View, dice: Dice) -> Draft | None:
    """Where is the thing that sounds first? Not asked if two start together."""
    return place_of(_first(view), "first", hear_starts(by_start(view.heard)), noun(dice, view.heard_by))


def louder_side(view: View, dice: Dice) -> Draft | None:
    """Is the thing on the left louder than the one on the right? Only columns in which one thing sounds."""
    columns = [fact.place for fact in view.both]
    pair = two(dice, [fact for fact in view.both if fact.place in COLUMNS and columns.count(fact.place) == 1])
    if not pair or "several" in columns:
        return None
    x, y, wanted = swapped(dice, pair, pair[0].level_db > pair[1].level_db)
    side, levels = view.heard_by[x].place, told([_level(fact) for fact in view.heard])
    said = f"{levels[:-1]}, so the {side} is {'louder' if wanted else 'softer'}."
    sides = {"at_side": at(side), "at_other": at(view.heard_by[y].place)}
    return Draft(yes_no(wanted), said, {**noun(dice, (x, y)), **sides})


def seen_longer(view: View, dice: Dice) -> Draft | None:
    """Is the dog seen for longer than it is heard?"""
    gain = {fact.name: _seen_seconds(view, fact) - (fact.end_s - fact.start_s) for fact in view.both}
    found = either(dice, [name for name in gain if gain[name] > 0], [name for name in gain if gain[name] < 0])
    if found is None:
        return None
    shown, sound = view.seen_by[found[1]], view.heard_by[found[1]]
    said = f"The {found[1]} is seen {lasting(shown)}, and heard {lasting(sound)}"
    said += f", so it is seen {'longer' if found[0] else 'shorter'}."
    return Draft(yes_no(found[0]), said, naming(found[1]))


def sounds_first(view: View, dice: Dice) -> Draft | None:
    """Which instrument sounds first? Not asked of one sound, nor if two start together."""
    first = _first(view)
    if first is None or len(view.heard) < 2:
        return None
    said = f"{hear_starts(by_start(view.heard))} The first is the {first.name}."
    return Draft(first.name, said, noun(dice, view.heard_by))


def sounds_last(view: View, dice: Dice) -> Draft | None:
    """Which instrument comes in last? Not asked if two do."""
    *_, other, last = [None, None, *by_start(view.heard)]
    if other is None or last is None or last.start_s == other.start_s:
        return None
    said = f"{hear_starts(reversed(by_start(view.heard)))} The last is the {last.name}."
    return Draft(last.name, said, noun(dice, view.heard_by))


def sounds_before(view: View, dice: Dice) -> Draft | None:
    """Does the bell sound before the dog?"""
    pair = two(dice, view.heard)
    if not pair or pair[0].start_s == pair[1].start_s:
        return None
    x, y, wanted = swapped(dice, pair, pair[0].start_s < pair[1].start_s)
    said = f"The {x} is heard from {view.heard_by[x].start_s} and the {y} from {view.heard_by[y].start_s}"
    return Draft(yes_no(wanted), f"{said}, so the {x} is {'first' if wanted else 'later'}.", naming(x, y))


def sounds_with(view: View, dice: Dice) -> Draft | None:
    """What sounds at the same time as the dog? Only where exactly one other sound does."""
    partners = {fact.name: [other for other in view.heard if _overlap(fact, other)] for fact in view.heard}
    names = [name for name in partners if len(partners[name]) == 1]
    if not names:
        return None
    x = dice.pick(names)
    partner = partners[x][0].name
    others = [fact for fact in by_start(view.heard) if fact.name != x]
    said = f"{hear_when([view.heard_by[x]])} {hear_when(others)} Meanwhile I hear {a(partner)}."
    return Draft(partner, said, {**naming(x), **noun(dice, (x, partner))})


def heard_before_seen(view: View, dice: Dice) -> Draft | None:
    """Is the dog heard before it is seen? Not asked of what starts both ways at once."""
    late = {fact.name: view.seen_by[fact.name].start_s - fact.start_s for fact in view.both}
    found = either(dice, [name for name in late if late[name] > 0], [name for name in late if late[name] < 0])
    if found is None:
        return None
    heard_s, seen_s = view.heard_by[found[1]].start_s, view.seen_by[found[1]].start_s
    said = f"The {found[1]} is heard from {heard_s} and seen from {seen_s}"
    said += f", so it is heard {'first' if found[0] else 'later'}."
    return Draft(yes_no(found[0]), said, naming(found[1]))


def _lists(view: View) -> str:
    """`I see a bell and two cups. I hear a bell.`"""
    return f"{see(view.seen)} {hear(view.heard)}"


def _those(view: View, *, sounding: bool) -> str:
    """What is seen and heard, or what is seen and never heard: `What I see and hear: bell, dogs.`"""
    names = [named(fact.name, fact.count) for fact in view.seen if fact.sounding == sounding]
    return meant("see and hear" if sounding else "see and never hear", names)


def _level(fact: HeardFact) -> str:
    return f"the {fact.name} {at(fact.place)} is {LEVELS[fact.level]}"


def _first(view: View) -> HeardFact | None:
    """What starts before everything else."""
    if not view.heard:
        return None
    first, *others = by_start(view.heard)
    return None if others and others[0].start_s == first.start_s else first


def _overlap(one: HeardFact, other: HeardFact) -> bool:
    return one is not other and max(one.start_s, other.start_s) < min(one.end_s, other.end_s)


def _seen_seconds(view: View, fact: HeardFact) -> int:
    seen = view.seen_by[fact.name]
    return seen.end_s - seen.start_s


ASKS: Mapping[str, Ask] = {
    "always_playing": always_playing,
    "always_silent": always_silent,
    "offscreen": offscreen,
    "source_visible": source_visible,
    "kinds_sounding": kinds_sounding,
    "sounding_count": sounding_count,
    "silent_count": silent_count,
    "where_loudest": where_loudest,
    "where_first": where_first,
    "louder_side": louder_side,
    "seen_longer": seen_longer,
    "sounds_first": sounds_first,
    "sounds_last": sounds_last,
    "sounds_before": sounds_before,
    "sounds_with": sounds_with,
    "heard_before_seen": heard_before_seen,
}
