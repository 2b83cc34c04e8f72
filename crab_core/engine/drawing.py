"""Masks of places that a model told in words: a masker draws what its boxes and points show, at the frame's size.

A family whose texts tell places in the mask tasks themselves (Crab+) is asked as ever; another one is asked for boxes
of what sounds. Between the moments that are asked about, the masker may track what it drew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from crab_core.engine.masks import binary_mask, empty_mask
from crab_core.engine.placing import placing_task
from crab_core.errors import ModelError, UsageError
from crab_core.families._base import Place
from crab_core.tasks.pictures import is_nothing
from crab_core.tasks.places import MOST_POINTS, points_of
from crab_core.tasks.wording import is_plus
from crab_core.types import Answer, Box, Mask, Point, Request, View

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crab_core.families._base import Masker, Precision, Tracker
    from crab_core.tasks._base import Task
    from crab_core.weights.folder import Header

MaskSource = Literal["auto", "own", "sam2"]
SOURCES: tuple[MaskSource, ...] = ("auto", "own", "sam2")
PART = "sam2"  # of a model folder
SOUNDING = ("s4", "ms3")  # tasks of what sounds, of which boxes can be had from other tasks
TOGETHER = 8  # frames that are decoded at once


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of one moment: its places, and the problems of reading them."""

    at_s: float
    size: tuple[int, int]
    answer: Answer | None
    boxes: tuple[Box, ...]
    points: tuple[Point, ...]

    @property
    def is_nothing(self) -> bool:
        """True if the model said that nothing is there."""
        return self.answer is not None and is_nothing(self.answer.text) and bool(self.answer.text)

    @property
    def places(self) -> tuple[Place, ...]:
        """A place a box, with the points that belong to it; one of all points if there is no box."""
        if not self.boxes and self.points:
            return (Place(self.points[0].label, None, self.points[-MOST_POINTS:]),)
        return tuple(Place(box.label, box, points_of(box, self.boxes, self.points)) for box in self.boxes)


@dataclass
class Drawing:
    """Draws the masks of a request, moment by moment, in order. `asks` is the task whose texts tell the places."""

    masker: Masker
    request: Request
    asks: Task
    _tracker: Tracker | None = None
    _labels: list[str] = field(default_factory=list)

    @property
    def note(self) -> str:
        """Who drew, and from what."""
        asked = "" if self.asks.name == self.request.task else f" of task '{self.asks.name}'"
        return f"masks are drawn by '{self.masker.name}' from the boxes{asked}"

    def masks(self, told: Told, until_s: float) -> tuple[tuple[Mask, ...], tuple[str, ...]]:
        """The masks at a moment, those tracked before `until_s`, and what to tell of them.

        What is tracked goes on where a text could not be read, and ends where the model says that nothing is there.
        """
        problems = () if told.places or told.is_nothing else ("the model told no place that a mask could be drawn of",)
        if self.request.track_s is None:
            (picture,) = self._pictures([told.at_s])
            logits = self.masker.draw(picture, told.places)
            return self._made(logits, told.at_s, told.size, [place.label for place in told.places]), problems
        steps = tracked_times(told.at_s, until_s, self.request.track_s)
        made: list[Mask] = []
        for at_s, picture in zip(steps, self._pictures(steps), strict=True):
            is_told = at_s == told.at_s and not problems
            logits = self._started(picture, told) if is_told else self._followed(picture)
            made += self._made(logits, at_s, told.size, self._labels)
        return tuple(made), problems

    def _started(self, picture: npt.NDArray[np.uint8], told: Told) -> list[npt.NDArray[np.float32]]:
        self._tracker = self._tracker or self.masker.tracker()
        self._labels = [place.label for place in told.places]
        return self._tracker.start(picture, told.places)

    def _followed(self, picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        return self._tracker.follow(picture) if self._tracker is not None else []

    def _made(
        self, logits: Sequence[npt.NDArray[np.float32]], at_s: float, size: tuple[int, int], labels: Sequence[str]
    ) -> tuple[Mask, ...]:
        if not logits:
            return (empty_mask(at_s, size),)
        return tuple(binary_mask(one, label, at_s, size) for one, label in zip(logits, labels, strict=True))

    def _pictures(self, times_s: Sequence[float]) -> Iterator[npt.NDArray[np.uint8]]:
        """The frames at these times, at their own size, a few in memory at once."""
        from crab_core.media import load_clip

        for start in range(0, len(times_s), TOGETHER):
            part = tuple(times_s[start : start + TOGETHER])
            yield from load_clip(self.request.clip, View(part, ()), audio_path=self.request.audio_path).frames


def drawing_for(header: Header, masker: Masker | None, request: Request, task: Task) -> Drawing | None:
    """How a request's masks are drawn; None for a task without masks, and where the network draws them itself.

    Raises ModelError if the model tells no places for the task, or tells only places and there is no masker.
    """
    if "masks" not in task.produces:
        return None
    if masker is None:
        check_masks(header, task, "own")
        if request.track_s is not None:
            raise UsageError("masks are tracked by SAM 2, and the network draws them itself", hint="Add --masks sam2")
        return None
    return Drawing(masker, request, places_task(header, task))


def check_masks(header: Header, task: Task, source: str) -> bool:
    """True if masks of the task come from a masker; refuses what the model of that header cannot do.

    Raises ModelError.
    """
    if source == "own" and is_plus(header.profile):
        raise ModelError(
            f"model '{header.name}' tells boxes and points and draws no masks of its own",
            hint="Let SAM 2 draw them: crab models pull sam2, or --sam2 DIR",
        )
    if source != "sam2" and not is_plus(header.profile):
        return False
    places_task(header, task)
    return True


def places_task(header: Header, task: Task) -> Task:
    """The task that is asked for the places of a mask task; raises ModelError if the model tells none."""
    if is_plus(header.profile) and task.name != "avss":
        return task
    if task.name not in SOUNDING:
        told = "crab segment CLIP" if is_plus(header.profile) else "crab segment CLIP --masks sam2"
        raise ModelError(
            f"model '{header.name}' tells no boxes for task '{task.name}' that SAM 2 could draw masks of",
            hint=f"Ask what sounds: {told}, or choose another --model.",
        )
    return placing_task(header)


def tracked_times(at_s: float, until_s: float, step_s: float) -> list[float]:
    """The moment itself, and every `step_s` after it before the next one.

    >>> tracked_times(2.0, 3.0, 0.25)
    [2.0, 2.25, 2.5, 2.75]
    """
    times = [at_s]
    while (after := round(at_s + len(times) * step_s, 6)) < until_s - 1e-6:
        times.append(after)
    return times


def check_source(masks: str, sam2: str | Path | None) -> MaskSource:
    """Where masks come from; raises UsageError for an unknown name, and for weights that would not be used."""
    from crab_core.registry import suggest

    if masks not in SOURCES:
        raise UsageError(f"masks cannot come from '{masks}'", hint=suggest(masks, list(SOURCES), kind="source"))
    if sam2 is not None and masks == "own":
        raise UsageError(f"--sam2 '{sam2}' is not used with --masks own", hint="Leave one of them out.")
    return "sam2" if sam2 is not None else masks


def masker_for(
    header: Header, folder: Path, masks: str, sam2: str | Path | None, precision: Precision
) -> Masker | None:
    """The masker that the model of a folder is loaded with; None if it draws its own masks, or if nobody asked for one
    and none is on this machine.

    Raises UsageError as `check_source` does, ModelError if SAM 2 was asked for and is not there or is damaged.
    """
    from crab_core.registry import MASKERS

    source = check_source(masks, sam2)
    if source == "own" or (source == "auto" and not is_plus(header.profile)):
        return None
    found = sam2_folder(sam2, header, folder, is_needed=source == "sam2")
    if found is None:
        return None
    masker: Masker = MASKERS["sam2"].load()(found, replace(precision, quantize="none"))
    return masker


def sam2_folder(named: str | Path | None, header: Header, model: Path, *, is_needed: bool) -> Path | None:
    """The folder of SAM 2: the named one, else that in the model's folder, else the one that was pulled; None if there
    is none and none is needed.

    Raises ModelError.
    """
    from crab_core.weights.catalog import MASKERS
    from crab_core.weights.pull import where

    if named is not None:
        folder = Path(named)
        if not folder.is_dir():
            raise ModelError(f"no folder '{folder}' with SAM 2", hint="Give one, or fetch it: crab models pull sam2")
        return folder
    if PART in header.parts:
        return model / PART
    found = [path for _, _, path in where(MASKERS["sam2"])]
    if found and all(path is not None for path in found):
        return cast(Path, found[0]).parent
    if is_needed:
        raise ModelError("SAM 2 is not on this machine", hint="Fetch it: crab models pull sam2, or name it: --sam2 DIR")
    return None
