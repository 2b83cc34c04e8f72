"""What is asked of the generated world to judge heads, and whether their maps fall on what sounds.

A cell of a map counts as inside an object if its middle lies in the object's box. Chance is the share of cells that are
inside: what a map without knowledge would reach. Letters: H heads, S frames, r rows, c columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from crab_core.engine.masks import masks_of
from crab_core.engine.session import Model
from crab_core.evaluate.boxes import BoxRow, mean_iou
from crab_core.evaluate.localization import second_accuracy
from crab_core.evaluate.masks import measure
from crab_core.evaluate.moment_runner import SIDE_PX, Asked, moment_of, read_moment
from crab_core.evaluate.parsing import video_f
from crab_core.evaluate.rows import EventRow, QaRow
from crab_core.evaluate.world_runner import OPEN, SECONDS, WorldTest, clip_of
from crab_core.registry import TASKS
from crab_core.types import Canvas, Clip, Prompt
from crab_core.world.bank import Bank
from crab_core.world.labels import boxes, label
from crab_core.world.moments import COORDINATES, Sight
from crab_core.world.picture import render_ids
from crab_core.world.questions import Sample, samples
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families._base import Generated

    Cells = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.floating]

IDS_PX = 112
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in shares of the picture


def inside(boxes: Sequence[Box], rows: int, columns: int) -> Cells:
    """(r, c): True where the middle of a cell lies in one of the boxes."""
    y = (np.arange(rows)[:, None] + 0.5) / rows
    x = (np.arange(columns)[None] + 0.5) / columns
    found = np.zeros((rows, columns), bool)
    for x0, y0, x1, y1 in boxes:
        found |= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    return found


def pointed(maps: Floats, truth: Sequence[Cells]) -> tuple[list[float], float] | None:
    """Hits of each map's strongest cell, mean over the frames that have a target, and the chance of one.

    `maps` is (H, S, r, c), `truth` has (r, c) a frame. None if no frame has a target cell.
    """
    frames = [at for at, cells in enumerate(truth) if cells.any()]
    if not frames:
        return None
    flat = maps[:, frames].reshape(len(maps), len(frames), -1)  # (H, frames, cells)
    cells = np.stack([truth[at].ravel() for at in frames])  # (frames, cells)
    # ties share a hit: an empty map is no knowledge, not the first cell's luck
    strongest = flat == flat.max(-1, keepdims=True)
    hits = (strongest & cells).sum(-1) / strongest.sum(-1)
    return hits.mean(-1).tolist(), float(cells.mean())


@dataclass(frozen=True, slots=True)
class Places:
    """Boxes in each frame of a clip."""

    by_frame: tuple[tuple[Box, ...], ...]

    def cells(self, rows: int, columns: int) -> list[Cells]:
        """`inside` of each frame."""
        return [inside(boxes, rows, columns) for boxes in self.by_frame]


@dataclass(frozen=True)
class Item:
    """One thing asked of a clip of the world: the true text, how an answer is scored, and where things are.

    `meant` are the places of what sounds and is seen, or of what an expression means; `others` those of everything
    else that is seen. `is_picture` says that the clip's first frame is shown as a picture.
    """

    name: str
    task: str
    question: str | None
    prompt: Prompt
    clip: Clip
    truth: str
    score: Callable[[Generated], float]
    meant: Places
    others: Places
    is_picture: bool = False


def items_of(model: Model, test: WorldTest) -> Iterator[Item]:
    """What a model is asked about each clip: questions, and every other task that it learnt and that applies."""
    bank = test.bank()
    width, _ = model.network.frame_size or (SIDE_PX, SIDE_PX)
    for scene in test.scenes(bank):
        yield from _of_film(model, scene, bank, clip_of(scene, bank, width), test.questions)
        yield from _of_picture(model, scene, bank, width)


def _of_film(model: Model, scene: Scene, bank: Bank, clip: Clip, questions: int) -> Iterator[Item]:
    rng = np.random.default_rng([scene.seed, scene.index, 13])
    made = samples(scene, label(scene), rng, tasks=("avqa", "ave", "avvp"))
    asked = [sample for sample in made if sample.task == "avqa" and sample.type != OPEN]
    chosen = [asked[at] for at in sorted(rng.choice(len(asked), min(questions, len(asked)), replace=False))]
    chosen += [sample for sample in made if sample.task == "avvp" or (sample.task == "ave" and scene.kind == "ave")]
    meant, others = _places_of_film(scene, bank)
    for sample in chosen:
        if not model.header.tasks or sample.task in model.header.tasks:
            score = partial(_film_score, sample)
            yield Item(
                str(clip.path), sample.task, sample.question, sample.prompt, clip, sample.target, score, meant, others
            )


def _of_picture(model: Model, scene: Scene, bank: Bank, width: int) -> Iterator[Item]:
    clip, many = moment_of(scene, bank, width)
    seen: set[str] = set()
    for one in many:
        sample = one.sample
        if sample.task not in model.header.tasks or sample.task in seen:
            continue
        seen.add(sample.task)  # one expression is enough
        wanted = [_is_meant(sight, sample) for sight in one.shown]
        places = [_shares(sight.box) for sight in one.shown]
        meant = Places((tuple(box for box, is_meant in zip(places, wanted, strict=True) if is_meant),))
        others = Places((tuple(box for box, is_meant in zip(places, wanted, strict=True) if not is_meant),))
        score = partial(_picture_score, one)
        yield Item(
            str(clip.path), sample.task, sample.question, sample.prompt, clip, sample.target, score, meant, others, True
        )


def _is_meant(sight: Sight, sample: Sample) -> bool:
    """True for what an expression means, and in other tasks for what sounds."""
    return sight.number in sample.figures if sample.task == "ref-avs" else sight.sounds


def _places_of_film(scene: Scene, bank: Bank) -> tuple[Places, Places]:
    """Where that which sounds in a second is seen in its frame, and where the rest is."""
    found = boxes(scene, render_ids(scene, bank, size=IDS_PX))
    meant: list[list[Box]] = [[] for _ in range(scene.seconds)]
    others: list[list[Box]] = [[] for _ in range(scene.seconds)]
    heard = {actor.name: actor.heard for actor in scene.actors}
    for one in found:
        span = heard[one.name]
        sounds = span is not None and span.holds(one.second)
        (meant if sounds else others)[one.second].append((one.x0, one.y0, one.x1, one.y1))
    return Places(tuple(map(tuple, meant))), Places(tuple(map(tuple, others)))


def _film_score(sample: Sample, written: Generated) -> float:
    """Right or wrong, the share of right seconds, or the official F of events by segment (Type@AV)."""
    read, canvas = TASKS[sample.task].load().read, Canvas(SECONDS)
    if sample.task == "avqa":
        answer = read(written.text, canvas).answer
        return float(QaRow("", "", "", "", answer.text if answer else "", sample.answer).is_right)
    row = EventRow("", SECONDS, read(written.text, canvas).events, read(sample.target, canvas).events)
    return (second_accuracy([row]) if sample.task == "ave" else video_f([row], "type", "segment")).value


def _picture_score(one: Asked, written: Generated) -> float:
    """The IoU of boxes or masks; 1 where nothing is meant and nothing told."""
    sample = one.sample
    if sample.task in ("arig", "ssl"):
        told, truth = (read_moment(sample.task, text).boxes for text in (written.text, sample.target))
        return mean_iou([BoxRow("", (SIDE_PX, SIDE_PX), told, truth)]).value
    answer = read_moment(sample.task, written.text).answer
    told_mask = masks_of(written, answer.text if answer else "", 0.0, (SIDE_PX, SIDE_PX))[0][0].pixels
    meant = np.isin(one.ids, sample.figures) if sample.figures else np.zeros_like(one.ids, bool)
    return measure("", told_mask.astype(np.float32), meant).strict_iou


def _shares(box: tuple[int, int, int, int]) -> Box:
    x0, y0, x1, y1 = (corner / COORDINATES for corner in box)
    return x0, y0, x1, y1
