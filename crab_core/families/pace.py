"""Where reading the prompt ends and writing begins, heard while somebody collects stats."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crab_core.families._base import Generated
from crab_core.stats import FIRST, asked, count

OnIds = Callable[[list[int]], None]


def pace(listener: OnIds | None) -> OnIds | None:
    """What hears the new ids of each step; turns `prefill` into `decode` at the first, if somebody collects."""
    stats = asked()
    if stats is None:
        return listener
    began = False

    def hear(ids: list[int]) -> None:
        nonlocal began
        if not began:
            began = True
            stats.turn("decode")
        if listener is not None:
            listener(ids)

    return hear


def tell_counts(written: Iterable[Generated], reused: int = 0) -> None:
    """Counts the tokens of texts that were written together; an end token counts as written."""
    for one in written:
        new = len(one.token_ids) + (one.stopped == "eos")
        count(prompt_tokens=one.prompt_tokens, new_tokens=new, **{FIRST: 1})
    count(reused_tokens=reused)
