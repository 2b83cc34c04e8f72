"""Dense labels of rendered clips as arrays, for the visual and audio stages.

Letters: n clips, T seconds, Q cells of a frame (3 columns x 2 rows), C classes, G side of the patch grid, M side
of a map of instances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crab_core.train.pool import MAP_PX, SECONDS, Pool
from crab_core.world.classes import SILENT, SOUNDING
from crab_core.world.labels import label
from crab_core.world.spec import Figure, Scene

THINGS: tuple[str, ...] = tuple(one.name for one in (*SOUNDING, *SILENT))  # what can be seen
CELLS = 6
GRID = 7
PATCH_POINTS = (MAP_PX // GRID) ** 2 // 8  # of a patch's map points that must show a class
MAX_FIGURES = 12
LEVEL_UNIT_DB = 10.0


@dataclass(frozen=True)
class DenseTargets:
    """Arrays beside a pool; class ids of cells and figures start at 1, 0 is nothing."""

    seconds: npt.NDArray[np.int64]  # (n,) how long each clip lasts
    cells: npt.NDArray[np.uint8]  # (n, T, Q) what stands in each cell
    figures: npt.NDArray[np.uint8]  # (n, F+1) class of each instance id
    owners: npt.NDArray[np.uint8]  # (n, T, Q) instance id of what stands in each cell
    heard: npt.NDArray[np.bool_]  # (n, T, C) sounding classes
    levels: npt.NDArray[np.float32]  # (n, C) level of each class in units of 10 dB


def dense_targets(pool: Pool, scenes: list[Scene]) -> DenseTargets:
    """The dense labels of every clip of a pool."""
    n = len(scenes)
    cells, owners = np.zeros((2, n, SECONDS, CELLS), np.uint8)
    figures = np.zeros((n, MAX_FIGURES + 1), np.uint8)
    heard = np.zeros((n, SECONDS, len(SOUNDING)), bool)
    levels = np.zeros((n, len(SOUNDING)), np.float32)
    for at, scene in enumerate(scenes):
        heard[at, : scene.seconds] = label(scene).audible.T
        for number, (actor, figure) in enumerate(scene.figures, start=1):
            thing = THINGS.index(actor.name) + 1
            figures[at, number] = thing
            if actor.seen:
                cells[at, actor.seen.start_s : actor.seen.end_s, cell_of(figure)] = thing
                owners[at, actor.seen.start_s : actor.seen.end_s, cell_of(figure)] = number
        for actor in scene.actors:
            if actor.heard:
                levels[at, THINGS.index(actor.name)] = (actor.level_db + scene.acoustics.gain_db) / LEVEL_UNIT_DB
    return DenseTargets(np.array([scene.seconds for scene in scenes]), cells, figures, owners, heard, levels)


def cell_of(figure: Figure) -> int:
    """The cell of a drawing: 0 1 2 in the upper row, 3 4 5 in the lower one."""
    return min(2, int(figure.x * 3)) + 3 * (figure.y >= 0.5)


def box_targets(maps: npt.NDArray[np.uint8], owners: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, M, M) instance ids and (N, Q) whose box is wanted -> (N, Q, 4) x0 y0 x1 y1 in shares of the frame.

    A box holds what is visible of a drawing; nan where nothing is, or where 0 is wanted.
    """
    boxes = np.full((*owners.shape, 4), np.nan, np.float32)
    for frame, cell in np.argwhere(owners > 0):
        rows, columns = np.nonzero(maps[frame] == owners[frame, cell])
        if len(rows):
            corners = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float32)
            boxes[frame, cell] = corners / maps.shape[-1]
    return boxes


def patch_targets(maps: npt.NDArray[np.uint8], figures: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """(N, M, M) instance ids and (N, F+1) their classes -> (N, G*G) the class that most of a patch shows, 0 for none.

    Something counts from an eighth of the patch on.
    """
    count, step = len(maps), MAP_PX // GRID
    classes = np.take_along_axis(figures, maps.reshape(count, -1).astype(np.int64), axis=1)  # (N, M*M)
    points = classes.reshape(count, GRID, step, GRID, step).transpose(0, 1, 3, 2, 4).reshape(count, GRID * GRID, -1)
    best, shown = np.zeros(points.shape[:2], np.int64), np.full(points.shape[:2], PATCH_POINTS - 1)
    for thing in np.unique(points):
        often = (points == thing).sum(-1)
        better = (often > shown) & (thing > 0)
        best, shown = np.where(better, int(thing), best), np.where(better, often, shown)
    return best
