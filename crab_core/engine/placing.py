"""Which task a model is asked for boxes of what sounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crab_core.engine.checks import first_learnt
from crab_core.errors import ModelError
from crab_core.registry import TASKS

if TYPE_CHECKING:
    from crab_core.tasks._base import Task
    from crab_core.weights.folder import Header

PLACING = ("ssl", "arig")  # the first finds several objects in one picture


def placing_task(header: Header) -> Task:
    """The task that finds boxes; raises ModelError if the model was trained on none."""
    if name := first_learnt(header, PLACING):
        task: Task = TASKS[name].load()
        return task
    raise ModelError(
        f"model '{header.name}' was not trained to tell where something sounds "
        f"({' or '.join(PLACING)}), only on {', '.join(header.tasks)}",
        hint="Leave --where out, or choose another model: crab models list",
    )
