"""A run that starts from a model folder and learns from annotated files, stage after stage."""

from __future__ import annotations

import json
import math
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crab_core.engine.device import choose
from crab_core.engine.resolve import folder_of
from crab_core.errors import InputError, UsageError
from crab_core.progress import Listener, Note, ignore
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.file_data import note_lessons, read_lessons
from crab_core.train.file_stage import TASK_TABLES
from crab_core.train.learners import check_lessons, learner_of, scale_of, taught_by
from crab_core.train.lesson_index import LessonIndex
from crab_core.train.looking import AHEAD, Looked, Looker
from crab_core.train.network import describe, encoder_key
from crab_core.train.processes import Group
from crab_core.train.record import settings_document
from crab_core.train.reports import Tracker
from crab_core.train.schedule import schedule
from crab_core.train.settings import FileData, Stage, TrainSettings
from crab_core.train.start import Start, learn, no_network, open_start, write_tuned
from crab_core.train.trainer import Batch, StageLoop, Work
from crab_core.weights.folder import read_header

DTYPES: Mapping[str, str] = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


@dataclass
class FileTraining:
    """One run in one folder; several processes of a `group` share its steps, and the first writes."""

    settings: TrainSettings
    out: Path
    resume: bool = True
    on_progress: Listener = ignore
    group: Group = field(default_factory=Group)
    trackers: Sequence[Tracker] = ()
    _lessons: dict[str, LessonIndex] = field(default_factory=dict)

    def finish(self) -> Path:
        """Trains every stage that has not ended yet; gives the folder of the last one's model, `out/model`."""
        for stage in self.settings.stages:  # what is wrong with the data is told before anything is loaded
            self.lessons(stage)
        for stage in self.settings.stages:
            if not self.resume or not (self.stage_folder(stage) / "crab.json").exists():
                self.train(stage)
            self.group.wait()
        return self.stage_folder(self.settings.stages[-1])

    def stage_folder(self, stage: Stage) -> Path:
        """Where the model lies as it was after a stage."""
        return self.out / ("model" if stage == self.settings.stages[-1] else stage.name)

    @property
    def data(self) -> FileData:
        """The files of the run."""
        assert isinstance(self.settings.data, FileData)
        return self.settings.data

    @cached_property
    def first(self) -> Path:
        """The folder of the model that the run starts from."""
        return folder_of(self.settings.model)

    def lessons(self, stage: Stage) -> LessonIndex:
        """What the files teach in a stage, read once for stages that want the same of them."""
        wanted = json.dumps([dict(stage.tasks), stage.samples])
        if wanted not in self._lessons:
            self._lessons[wanted] = self._read(stage)
        return self._lessons[wanted]

    def _read(self, stage: Stage) -> LessonIndex:
        header = read_header(self.first)
        try:
            known_s, box_px = scale_of(header)
        except ValueError as err:
            raise no_network(self.first, err) from err

        def second_s(task: str, seconds: float) -> float:
            return seconds / known_s if seconds > known_s + 0.5 else 1.0

        lessons = read_lessons(self.data, stage.tasks, box_px, stage.samples, second_s, taught_by(header))
        check_lessons(header, lessons)
        return lessons

    def train(self, stage: Stage) -> None:
        """One stage, from its last checkpoint if there is one, and its model folder."""
        at = self.settings.stages.index(stage)
        folder = self.first if at == 0 else self.stage_folder(self.settings.stages[at - 1])
        device = self.group.device if self.group.is_shared else self.settings.device
        backend = choose(device, DTYPES[self.settings.precision], self.settings.quantize)
        torch.manual_seed(self.settings.seed)
        start = open_start(folder, backend.precision)
        trained = learn(start, stage)
        lessons = self.lessons(stage)
        if self.group.is_first:
            note_lessons(lessons, self.on_progress)
            said = f"stage '{stage.name}': {trained / 1e6:.2f} M parameters learn, {stage.steps} steps on {backend.why}"
            self.on_progress(Note(said))
        if self.settings.checkpointing:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                start.model.llm.gradient_checkpointing_enable({"use_reentrant": False})
        if self.settings.shard:
            from crab_core.train.sharding import shard

            shard(start.model, self.group)
        work = FileWork(self.settings, stage, start, lessons, self.group, self.on_progress)
        began = time.monotonic()

        def write(place: Path, curve: Sequence[Mapping[str, float]], weights: Mapping[str, torch.Tensor]) -> None:
            facts: dict[str, Any] = {
                "settings": settings_document(self.settings),
                "parameters": describe(start.model),
                "stage": stage.name,
                "start": {"name": start.header.name, "training": dict(start.header.training)} if at == 0 else {},
                "seconds": round(time.monotonic() - began),
                "rows": dict(lessons.counts),
                "skipped": dict(work.looker.skipped),
                "curve": curve,
            }
            learnt = {name.removeprefix("model."): one for name, one in weights.items()}
            write_tuned(start, place, lessons.counts, facts, self.settings.name, learnt)

        loop = StageLoop(
            Work(work.module, work.pieces, work.ids, work.names),
            stage,
            Checkpoints(self.out, self.settings.keep, self.on_progress),
            write,
            offset=sum(one.until or one.steps for one in self.settings.stages[:at]),
            seed=self.settings.seed,
            on_progress=self.on_progress,
            group=self.group,
            scaled=self.settings.precision == "fp16",
            sharded=self.settings.shard,
            trackers=self.trackers,
        )
        try:
            curve = loop.run(resume=self.resume)
        finally:
            work.looker.close()
        weights = loop.weights()
        if self.group.is_first:
            self._place(self.stage_folder(stage), lambda place: write(place, curve, weights))
            if work.looker.skipped:
                self.on_progress(Note(f"{len(work.looker.skipped)} clips were left out", seen=True))

    def _place(self, folder: Path, write: Any) -> None:
        """Writes a folder aside and renames it."""
        aside = self.out / f".{folder.name}-new"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            write(aside)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


class FileWork:
    """The batches of one stage."""

    def __init__(
        self,
        settings: TrainSettings,
        stage: Stage,
        start: Start,
        lessons: LessonIndex,
        group: Group,
        on_progress: Listener,
    ) -> None:
        assert isinstance(settings.data, FileData)
        self.stage, self.lessons, self.group = stage, lessons, group
        dtype = getattr(torch, DTYPES[settings.precision])
        model = start.model
        learner = learner_of(start, stage, dtype)
        self.module, self.writer, self.frozen = learner.module, learner.writer, learner.keeps_encodings
        cache = settings.data.cache if self.frozen else None
        self.looker = Looker(
            start.network,
            start.header.profile,
            lessons,
            settings.data.workers,
            cache,
            encoder_key(model) if cache is not None else "",
            settings.data.most_skipped,
            on_progress,
        )
        try:
            self.grid = schedule(
                lessons.places(),
                lessons.letters,
                stage.tasks or {task: float(count) for task, count in lessons.counts.items()},
                steps=stage.steps,
                batch=stage.batch,
                seed=settings.seed,
                group_lengths=stage.group_lengths,
            )
        except ValueError as err:
            raise UsageError(str(err), hint="Leave the task out of the stage's tasks.") from err
        self.totals = (0.0, 0.0)
        self.sharded = settings.shard
        self.spare: Batch | None = None

    def pieces(self, step: int) -> list[Batch]:
        """This process's part of a step."""
        for ahead in range(step, min(step + 1 + AHEAD, len(self.grid))):
            self.looker.prepare(self._own(ahead))
        looked = [self._encoded(one) for one in self.looker.look(self._own(step))]
        kinds: dict[str, list[Looked]] = {"": []}
        for one in looked:
            tables = TASK_TABLES.get(one.lesson.task, "")
            kinds.setdefault(tables if tables in self.module.own_tables else "", []).append(one)
        parts = [
            self.writer.piece([kind[at] for at in share], tables)
            for tables, kind in sorted(kinds.items())
            for share in np.array_split(np.arange(len(kind)), self.stage.accumulate)
            if len(share)
        ]
        tokens, masks = self.group.sums([sum(part.tokens for part in parts), float(sum(part.masks for part in parts))])
        self.totals = (tokens, masks)
        pieces: list[Batch] = [{"piece": part, "tokens": tokens, "masks": masks} for part in parts]
        return self._as_many_as_others(pieces) if self.sharded else pieces

    def _as_many_as_others(self, pieces: list[Batch]) -> list[Batch]:
        """The pieces, and as often as another process has more the last one without weight: layers are gathered."""
        self.spare = pieces[-1] if pieces else self.spare
        lacking = self.group.most(len(pieces)) - len(pieces)
        if lacking and self.spare is None:
            raise InputError("no clip of a process can be used in the first step", hint="Raise the stage's 'batch'.")
        idle: Batch = {**self.spare, "tokens": math.inf, "masks": math.inf} if self.spare else {}
        return [*pieces, *[idle] * lacking]

    def names(self) -> Sequence[str]:
        """What the pieces that were asked for last tell."""
        return ("loss", "token_accuracy", "tokens", *(("mask_loss", "mask_iou") if self.totals[1] else ()))

    def ids(self, step: int) -> list[str]:
        """The names of all texts of a step."""
        return [name for number in self.grid[step] for name in self.lessons[number].ids]

    def _own(self, step: int) -> list[int]:
        return [int(one) for one in self.grid[step][self.group.rank :: self.group.size]]

    def _encoded(self, looked: Looked) -> Looked:
        if not self.frozen or looked.is_encoded:
            return looked
        encoded = self.module.encoded(looked)
        self.looker.keep(encoded)
        return encoded
