"""A model is asked about single seconds of clips of the generated world: boxes and masks, beside what is trivial.

Baselines: `constant`, one box or mask for all pictures, the mean of those of training clips; `everything`, all that the
picture shows, an oracle of things without a sense of sound or words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crab_core.engine.masks import masks_of
from crab_core.engine.session import Model
from crab_core.evaluate import boxes, masks
from crab_core.evaluate.bootstrap import Counts, score
from crab_core.evaluate.boxes import BoxRow
from crab_core.evaluate.masks import MaskRow, measure
from crab_core.evaluate.report import Line, Table
from crab_core.evaluate.rows import QaRow
from crab_core.progress import Listener, Progress, ignore
from crab_core.registry import TASKS
from crab_core.types import SAMPLE_RATE_HZ, Box, Canvas, Clip, Decoding
from crab_core.world.bank import Bank, load_bank
from crab_core.world.moments import (
    COORDINATES,
    MOMENT_TASKS,
    TASKS_WITH_MASKS,
    Sight,
    moment_samples,
    pick_second,
    sights,
)
from crab_core.world.picture import render, render_ids
from crab_core.world.questions import Sample
from crab_core.world.scene import sample_scene
from crab_core.world.sound import render_sound
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    from crab_core.evaluate.world_runner import WorldTest
    from crab_core.families._base import Generated

SIDE_PX = 224
CONSTANT_CLIPS = 200
Ids = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Asked:
    """One thing asked of one picture: its sample, the ids (H, W) of its drawings and what it shows."""

    clip: str
    sample: Sample
    ids: Ids
    shown: tuple[Sight, ...]


def evaluate_moments(model: Model, test: WorldTest, on_progress: Listener = ignore) -> tuple[Table, ...]:
    """A table each of ARIG, SSL, S4, MS3 and Ref-AVS, of one second of every clip, without tasks not learnt."""
    known = [task for task in MOMENT_TASKS if task in model.header.tasks]
    if not known:
        return ()
    run = _Run(model, test, on_progress)
    return tuple(run.masks(task) if task in TASKS_WITH_MASKS else run.boxes(task) for task in known)


@dataclass
class _Run:
    model: Model
    test: WorldTest
    on_progress: Listener

    @cached_property
    def moments(self) -> list[tuple[Clip, list[Asked]]]:
        """A second of every clip, as decoded film would give it, and all that is asked of it."""
        found, bank = [], self.test.bank()
        width, _ = self.model.network.frame_size or (SIDE_PX, SIDE_PX)
        for index, scene in enumerate(self.test.scenes(bank)):
            found.append(moment_of(scene, bank, width))
            if index % 100 == 0:
                self.on_progress(Progress("render", index, self.test.clips, "clips"))
        return found

    def boxes(self, task: str) -> Table:
        rows, constant, everything = [], [], []
        mean = _mean_box(_training(task))
        for asked, written in self._written(task):
            truth = read_moment(task, asked.sample.target).boxes
            rows.append(BoxRow(asked.clip, (SIDE_PX, SIDE_PX), read_moment(task, written.text).boxes, truth))
            constant.append(BoxRow(asked.clip, (SIDE_PX, SIDE_PX), (mean,), truth))
            shown = tuple(_scaled(one) for one in asked.shown)
            everything.append(BoxRow(asked.clip, (SIDE_PX, SIDE_PX), shown, truth))
        every = (rows, constant, everything)
        there = [number for number, row in enumerate(rows) if row.truth]
        metrics = {
            "box IoU": boxes.mean_iou,
            "cIoU at 0.5": boxes.success_rate,
            "AUC": boxes.area_under_curve,
            "pointing game": boxes.pointing,
            "class-aware cIoU at 0.5": boxes.class_aware_rate,
        }
        lines = [
            _line(f"{name}, something sounds", metric, *([part[at] for at in there] for part in every))
            for name, metric in metrics.items()
        ]
        lines.append(_line("box IoU, all pictures", boxes.mean_iou, rows, constant, everything))
        return Table(task.upper(), tuple(lines))

    def masks(self, task: str) -> Table:
        rows, constant, everything, names = [], [], [], []
        mean = _mean_mask(_training(task))
        for asked, written in self._written(task):
            truth = np.isin(asked.ids, asked.sample.figures) if asked.sample.figures else np.zeros_like(asked.ids, bool)
            label = (answer := read_moment(task, written.text).answer) and answer.text or ""
            told = masks_of(written, label, 0.0, (SIDE_PX, SIDE_PX))[0][0].pixels
            rows.append(measure(asked.clip, told.astype(np.float32), truth))
            constant.append(measure(asked.clip, mean.astype(np.float32), truth))
            everything.append(measure(asked.clip, (asked.ids > 0).astype(np.float32), truth))
            names.append(QaRow(asked.clip, task, task, "Audio-Visual", label, asked.sample.answer))
        there = [number for number, row in enumerate(rows) if row.true]
        gone = [number for number, row in enumerate(rows) if not row.true]
        every = (rows, constant, everything)
        lines = [
            _line("mIoU, something is meant", masks.mean_iou, *([part[at] for at in there] for part in every)),
            _line("F, something is meant", masks.frame_f, *([part[at] for at in there] for part in every)),
        ]
        if gone:
            none = ([part[at] for at in gone] for part in every)
            lines.append(_line("empty mask, nothing is meant", _left_empty, *none))
        lines.append(Line("named right", score(_right(names)), {}))
        return Table({"ref-avs": "Ref-AVS"}.get(task, task.upper()), tuple(lines))

    def _written(self, task: str) -> Iterator[tuple[Asked, Generated]]:
        """What the model wrote, and drew, to each question of a task."""
        network, known = self.model.network, TASKS[task].load()
        asked = [(clip, one) for clip, many in self.moments for one in many if one.sample.task == task]
        for start in range(0, len(asked), self.test.batch):
            part = asked[start : start + self.test.batch]
            encoded = [network.encode(clip, task).at(0) for clip, _ in part]
            told = network.generate_batch(
                encoded, [one.sample.prompt for _, one in part], Decoding(max_new_tokens=known.max_new_tokens)
            )
            self.on_progress(Progress(task, start + len(part), len(asked), "texts"))
            for (_, one), written in zip(part, told, strict=True):
                yield one, written


def moment_of(scene: Scene, bank: Bank, width: int = SIDE_PX) -> tuple[Clip, list[Asked]]:
    """A second of a scene as the network sees it, `width` pixels wide, and the truth at `SIDE_PX`."""
    rng = np.random.default_rng([scene.seed, scene.index, 12])
    second = pick_second(scene, rng)
    frames, _ = render(scene, bank, size=width, times=[second])
    sound = render_sound(scene, bank)[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ]
    name = f"{scene.split}-{scene.index}"
    clip = Clip(
        path=Path(name),
        duration_s=1.0,
        frame_times_s=np.zeros(1),
        frames=frames,
        waveform=sound.astype(np.float32),
        sound_windows_s=((0.0, 1.0),),
        size=(SIDE_PX, SIDE_PX),
        audio="used",
    )
    picture = render_ids(scene, bank, size=SIDE_PX, times=[second])[0]
    made = moment_samples(scene, second, picture, rng)
    shown = sights(scene, second, picture)
    return clip, [Asked(name, sample, picture, shown) for sample in made]


def _training(task: str) -> Iterator[Asked]:
    bank = load_bank()
    for index in range(CONSTANT_CLIPS):
        for asked in moment_of(sample_scene("train", index, bank=bank), bank)[1]:
            if asked.sample.task == task:
                yield asked


def _mean_box(training: Iterator[Asked]) -> Box:
    found = [box for asked in training for box in read_moment(asked.sample.task, asked.sample.target).boxes]
    corners = np.mean([[box.x0, box.y0, box.x1, box.y1] for box in found], axis=0)
    return Box("", *map(float, corners))


def _mean_mask(training: Iterator[Asked]) -> npt.NDArray[np.bool_]:
    """The pixels that are more often in a mask than the mask's mean share would have it, as large as a usual mask."""
    truths = [np.isin(one.ids, one.sample.figures) for one in training if one.sample.figures]
    often = np.mean(truths, axis=0)
    usual = float(np.mean([truth.mean() for truth in truths]))
    return np.asarray(often >= np.quantile(often, 1 - usual), bool)


def read_moment(task: str, text: str) -> Any:
    """What a text says of a picture of `SIDE_PX`."""
    canvas = Canvas(1.0, 1, 1.0, (SIDE_PX, SIDE_PX), (COORDINATES, COORDINATES))
    return TASKS[task].load().read(text, canvas)


def _scaled(one: Sight) -> Box:
    return Box(one.name, *(corner * SIDE_PX / COORDINATES for corner in one.box))


def _left_empty(rows: Sequence[MaskRow]) -> Counts:
    return masks.mean_iou(rows, strict=True)


def _right(rows: Sequence[QaRow]) -> Counts:
    from crab_core.evaluate.answers import accuracy

    return accuracy(rows)


def _line(name: str, metric: Any, rows: Sequence[Any], constant: Sequence[Any], everything: Sequence[Any]) -> Line:
    others = {"constant": score(metric(constant)), "everything": score(metric(everything))}
    return Line(name, score(metric(rows)), others)
