"""Everything that is true of a scene in one paragraph: questions about it need reading, neither sight nor hearing.

A small language model that is to compare, count and look things up learns this faster from plain facts than through
its eyes and ears, since there are more questions in as many tokens.
"""

from __future__ import annotations

from crab_core.world.labels import SceneLabels
from crab_core.world.narration import LEVELS, at, listed, some, span


def told(labels: SceneLabels) -> str:
    """`The video lasts 8 seconds. I see a cat in the middle from 0 to 8. I hear a loud cat from 2 to 6.`"""
    seen = [f"{some(fact.name, fact.count)} {at(fact.place)} {span(fact)}" for fact in labels.seen]
    heard = [f"a {LEVELS[fact.level]} {fact.name} {span(fact)}" for fact in labels.heard]
    return (
        f"The video lasts {labels.seconds} seconds. I see {listed(seen) if seen else 'nothing'}. "
        f"I hear {listed(heard) if heard else 'nothing'}."
    )
