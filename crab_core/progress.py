"""What the core tells a listener. The core never prints: a command line or a notebook draws what it hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of a stage are finished; total 0 means not known."""

    stage: str
    done: int
    total: int = 0
    unit: str = "items"
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the user that is no error; `seen` if it is worth reading unasked."""

    text: str
    seen: bool = False


Listener = Callable[[Progress | Note], None]


def ignore(_: Progress | Note) -> None:
    """The listener that drops everything."""
