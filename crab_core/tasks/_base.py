"""What a task is: its wording, its reader and what it gives. One file a task; this one holds the shared shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from crab_core.types import Canvas, Prompt, Reading


@dataclass(frozen=True, slots=True)
class Moment:
    """What belongs to a question about one picture, at a moment of the clip.

    `window_s` is the length of the clips on which such questions were learnt. A prompt that shows the video shows that
    window; one that shows only the picture plays `heard_s` seconds of sound, by profile, where 1 is the second that
    begins at the moment and more are of the window. `told(label, ordinal)` is the answer that a network should have
    written to draw a mask of the label at the `ordinal` ("first", ...) second; None for tasks without masks.
    """

    window_s: int = 10
    heard_s: Mapping[str, int] = field(default_factory=dict, hash=False)
    told: Callable[[str, str], str] | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A task by name.

    `wording(question, profile)` gives the prompt; `read(text, canvas)` turns the model's text into a reading and
    never raises for a strange text. `needs_question` asks the user for one; `listens` and `looks` say which media
    the task cannot do without. A model that was not trained on a task is refused if that `must_be_learnt`, else the
    user is told. `chooses` says what the candidates of a choice are: texts, or files whose pictures or sound are shown.
    A task with a `moment` is asked about single pictures, where the word `<second>` of its wording stands for the
    picture's second of the window ("first", ...).
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
    moment: Moment | None = None
    must_be_learnt: bool = False
    chooses: Literal["text", "video", "audio"] | None = None

    @property
    def compares(self) -> bool:
        """True for a task that is shown several clips at once."""
        return self.chooses in ("video", "audio")

    @property
    def in_windows(self) -> bool:
        """True for a task that tells events, which can be told window by window and merged."""
        return self.moment is None and "events" in self.produces
