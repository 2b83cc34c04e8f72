"""The files of a task that compares clips: which of them is looked at, which is heard, and whether it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.engine.checks import probe_for
from crab_core.errors import InputError
from crab_core.tasks.matching import CANDIDATES

if TYPE_CHECKING:
    from crab_core.media import Probe
    from crab_core.tasks._base import Task
    from crab_core.types import Request

KINDS = {True: "VIDEO", False: "SOUND"}


def each(request: Request) -> list[Request]:
    """A request for the clip and one for each candidate."""
    others = [replace(request, clip=Path(path), audio_path=None, id=None) for path in request.choices[:CANDIDATES]]
    return [request, *others]


def shows(task: Task, number: int) -> bool:
    """True if the pictures of that file are shown, False if its sound is played; the clip is number 0."""
    return (task.chooses == "video") == (number > 0)


def probe_each(request: Request, task: Task) -> list[Probe]:
    """What the clip and each candidate hold, if that is enough.

    Raises InputError for a file that cannot be used or lacks pictures, AudioMissing for one that lacks sound.
    """
    found = []
    for number, one in enumerate(each(request)):
        looks = shows(task, number)
        try:
            found.append(probe_for(one, replace(task, looks=looks, listens=not looks)))
        except InputError as err:
            if number == 0:
                raise
            raise type(err)(err.message, hint=f"Name another one of its two files: --choice {KINDS[looks]}") from err
    return found
