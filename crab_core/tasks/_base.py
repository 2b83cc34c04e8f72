"""What a task is: its wording, its reader and what it gives. One file a task; this one holds the shared shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crab_core.types import Canvas, Prompt, Reading


@dataclass(frozen=True, slots=True)
class Task:
    """A task by name.

    `wording(question, profile)` gives the prompt; `read(text, canvas)` turns the model's text into a reading and
    never raises for a strange text. `needs_question` asks the user for one; `listens` and `looks` say which media
    the task cannot do without.
    """

    name: str
    summary: str
    wording: Callable[[str | None, str], Prompt]
    read: Callable[[str, Canvas], Reading]
    produces: tuple[str, ...]
    needs_question: bool = False
    listens: bool = False
    looks: bool = False
    max_new_tokens: int = 256
