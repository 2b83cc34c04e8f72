"""What the parts of an answer cost, collected while somebody asks: seconds, tokens, memory.

with collecting() as stats:
    model.infer(request)
stats.seconds["prefill"], stats.to_dict()

Parts do not overlap: while an inner one runs, the outer one's clock stands still.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

PARTS = ("load", "media", "fbank", "encode", "prefill", "decode", "mask", "other")
COUNTS = ("prompt_tokens", "reused_tokens", "new_tokens")
FIRST = "first tokens"  # of `counts`: those that belong to the prefill


def _at_once() -> None:
    """What a CPU has been told to do is done."""


@dataclass
class Stats:
    """Seconds by part and counts of tokens; `settle` waits for a device to have done what it was told to do.

    `media` is finding, demuxing and decoding the clip, `prefill` reading the prompt up to the first new token, `decode`
    the tokens after it, `other` what belongs to no part. `peak_memory_bytes` is the process's, by device.
    """

    settle: Callable[[], None] = _at_once
    seconds: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    _open: list[str] = field(default_factory=list)
    _since: float = field(default_factory=time.perf_counter)

    def begin(self, part: str) -> None:
        """A part begins, inside of the one that runs."""
        self._lap()
        self._open.append(part)

    def turn(self, part: str) -> None:
        """The innermost part is over and another one takes its place."""
        self._lap()
        self._open[-1:] = [part]

    def end(self) -> None:
        """The innermost part is over."""
        self._lap()
        self._open.pop()

    def tokens_per_s(self) -> float | None:
        """New tokens a second after the first; None if none were written after it."""
        spent, written = self.seconds.get("decode", 0.0), self.counts.get("new_tokens", 0) - self.counts.get(FIRST, 0)
        return written / spent if spent > 0 and written > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values in the order of `PARTS`."""
        speed = self.tokens_per_s()
        return {
            "seconds": {part: round(self.seconds[part], 4) for part in PARTS if part in self.seconds},
            **{name: self.counts.get(name, 0) for name in COUNTS},
            "tokens_per_s": None if speed is None else round(speed, 2),
            "peak_memory_bytes": dict(self.peak_memory_bytes),
        }

    def _lap(self) -> None:
        self.settle()
        now = time.perf_counter()
        part = self._open[-1] if self._open else "other"
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


_ASKED: ContextVar[Stats | None] = ContextVar("stats", default=None)


@contextmanager
def collecting(settle: Callable[[], None] = _at_once) -> Iterator[Stats]:
    """Within the block, and in its thread, what parts cost is collected."""
    stats = Stats(settle)
    token = _ASKED.set(stats)
    try:
        yield stats
        stats.begin("other")  # closes what ran until now
        stats.end()
    finally:
        _ASKED.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """Within the block the clock of a part runs, if somebody collects."""
    stats = _ASKED.get()
    if stats is None:
        yield
        return
    stats.begin(name)
    try:
        yield
    finally:
        stats.end()


def asked() -> Stats | None:
    """What is being collected, None if nobody does."""
    return _ASKED.get()


def count(**numbers: int) -> None:
    """Adds to the counts, if somebody collects."""
    if (stats := _ASKED.get()) is not None:
        for name, number in numbers.items():
            stats.counts[name] = stats.counts.get(name, 0) + number
