"""Where reading the prompt ends and writing begins, heard from transformers' generate while somebody collects stats."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from crab_core.families._base import Generated
from crab_core.stats import FIRST, Stats, asked, count

if TYPE_CHECKING:
    import torch


class Streamer(Protocol):
    """What hears new ids."""

    def put(self, ids: torch.Tensor) -> None:
        """The prompt's ids (B, n), then the new ones of each step (B,)."""

    def end(self) -> None:
        """No more comes."""


class Pace:
    """Turns `prefill` into `decode` at the first new token, and passes on what it hears."""

    def __init__(self, stats: Stats, listener: Streamer | None) -> None:
        self._stats, self._listener = stats, listener
        self._began = False

    def put(self, ids: torch.Tensor) -> None:
        """New ids (B,), or the prompt's (B, n)."""
        if ids.ndim == 1 and not self._began:
            self._began = True
            self._stats.turn("decode")
        if self._listener is not None:
            self._listener.put(ids)

    def end(self) -> None:
        """All is written."""
        if self._listener is not None:
            self._listener.end()


def pace(listener: Streamer | None) -> Streamer | None:
    """The listener, with an ear for the first token if somebody collects."""
    stats = asked()
    return listener if stats is None else Pace(stats, listener)


def tell_counts(written: Iterable[Generated], reused: int = 0) -> None:
    """Counts the tokens of texts that were written together; an end token counts as written."""
    for one in written:
        new = len(one.token_ids) + (one.stopped == "eos")
        count(prompt_tokens=one.prompt_tokens, new_tokens=new, **{FIRST: 1})
    count(reused_tokens=reused)
