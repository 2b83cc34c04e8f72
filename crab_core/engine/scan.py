"""Everything that a model can say of a clip in one result: a caption, events, and boxes and masks where they are heard.

The clip is decoded and encoded once for each view of it. The events choose the moments at which boxes and masks are
looked for. What the model was not trained on, or what the clip has no sound or pictures for, is left out and told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crab_core.engine.checks import first_learnt
from crab_core.engine.drawing import drawing_for
from crab_core.engine.placing import PLACING
from crab_core.engine.stopwatch import Stopwatch
from crab_core.engine.where import heard, middles
from crab_core.errors import InputError, ModelError
from crab_core.progress import Listener, Note, ignore
from crab_core.registry import TASKS
from crab_core.types import Decoding, Event, Request, Result

if TYPE_CHECKING:
    from crab_core.engine.session import Seen

SCAN = "scan"
PARTS = {"caption": ("avcap",), "events": ("avvp", "ave"), "boxes": PLACING, "masks": ("ms3", "s4")}


def scan(seen: Seen, request: Request, seed: int = 0, on_progress: Listener = ignore) -> Result:
    """The parts that the model and the clip allow, as one result of the task `scan`.

    Boxes and masks are of `request.at_s`, else of the middle of every event, else of every `request.every_s` seconds.
    Raises InputError if the clip allows no part, ModelError or UsageError as the parts do.
    """
    began, told = time.perf_counter(), _Scan(seen, request, seed, on_progress)
    for part, names in PARTS.items():
        told.add(part, names)
    if not told.parts:
        raise InputError(f"nothing can be said of '{request.clip}': {'; '.join(told.notes)}", hint="Ask another model.")
    return replace(told.joined(), seconds=time.perf_counter() - began)


@dataclass
class _Scan:
    """The parts that were told so far, and why others were not."""

    seen: Seen
    request: Request
    seed: int
    on_progress: Listener
    parts: dict[str, Result] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    watch: Stopwatch = field(default_factory=Stopwatch)

    def add(self, part: str, names: tuple[str, ...]) -> None:
        """One more part, by the first of these tasks that the model has learnt."""
        model = self.seen.model
        name = names[0] if part == "masks" and model.masker is not None else first_learnt(model.header, names)
        if name is None:
            self.notes.append(f"no {part}: model '{model.name}' was not trained on {' or '.join(names)}")
            return
        try:
            drawing_for(model.header, model.masker, self.request, TASKS[name].load())
        except ModelError as err:
            self.notes.append(f"no {part}: {err.message}")
            return
        self.on_progress(Note(f"{part}: task '{name}'"))
        task = TASKS[name].load()
        asked = replace(self.request, task=name, question=None, where=False, at_s=())
        if not task.in_windows:
            asked = replace(asked, window_s=None, stride_s=None)
        if task.moment is not None:
            asked = replace(asked, at_s=self.request.at_s or self.moments())
        decoding = Decoding(task.max_new_tokens, seed=self.seed)
        try:
            self.parts[part] = self.seen.answer(asked, decoding, None, self.watch, self.on_progress)
        except InputError as err:
            self.notes.append(f"no {part}: {err.message}")

    @property
    def events(self) -> tuple[Event, ...]:
        """The events, if they were told."""
        return self.parts["events"].events if "events" in self.parts else ()

    def moments(self) -> tuple[float, ...]:
        """The middles of the events that are heard, else of those that are seen; none if there are no events."""
        return middles(heard(self.events)) or middles(self.events)

    def joined(self) -> Result:
        """All parts in one result; there is at least one."""
        every = list(self.parts.values())
        said = {note: None for note in (*self.notes, *(note for one in every for note in one.notes))}
        return replace(
            every[0],
            task=SCAN,
            answer=self.parts["caption"].answer if "caption" in self.parts else None,
            events=self.events,
            boxes=self.parts["boxes"].boxes if "boxes" in self.parts else (),
            masks=self.parts["masks"].masks if "masks" in self.parts else (),
            raw_text="\n".join(f"[{part}] {one.raw_text}" for part, one in self.parts.items()),
            timings_s=dict(self.watch.spent_s),
            notes=tuple(said),
            consistency=tuple(doubt for one in every for doubt in one.consistency),
        )
