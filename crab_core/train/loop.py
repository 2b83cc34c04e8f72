"""A training run: settings -> tokenizer, network, pools -> stage after stage -> a model folder after each of them.

A run that was killed goes on where it was: finished stages are read from their folders, the stage under way from its
last checkpoint, rendered clips and encoder features from the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crab_core.config import load_config
from crab_core.errors import UsageError
from crab_core.progress import Listener, Note, ignore
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.features import Features, encode_pool, project
from crab_core.train.pool import Pool, PoolPlan, open_pool
from crab_core.train.processes import Group, joined
from crab_core.train.record import check_same_run, data_hash, write_run
from crab_core.train.reports import Tracker
from crab_core.train.settings import Stage, TrainSettings, WorldData
from crab_core.train.shares import MakeBatches, SharedPieces, share_norms
from crab_core.train.targets import THINGS, DenseTargets, dense_targets
from crab_core.train.tracking import trackers_of
from crab_core.train.trainer import StageLoop, Work
from crab_core.world.bank import load_bank
from crab_core.world.classes import SOUNDING
from crab_core.world.scene import Scene, fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from crab_core.nn.crab import CrabModel
    from crab_core.train.language import LanguageStage

CORPUS_CLIPS = 1_000
FIT_BATCHES, FIT_ITEMS = 12, 2**40  # what heads of lookups begin with, and its first item: no step comes so far


def run(
    config: Path, overrides: Sequence[str] = (), *, out: Path, resume: bool = True, on_progress: Listener = ignore
) -> Path:
    """Trains as the YAML file says and gives the folder of the finished model, `out/model`.

    Raises ConfigError with every mistake of the file before anything is loaded, UsageError if `out` holds another run.
    """
    settings = load_config(TrainSettings, config, overrides)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    with joined(on_gpus=_on_gpus(settings)) as group:
        if settings.shard and not group.is_shared:
            raise UsageError("one process has nobody to share the model with", hint="Add --processes 2, or more.")
        listener = on_progress if group.is_first else ignore
        data = fingerprint(load_bank()) if settings.network is not None else data_hash(settings)
        check_same_run(out, settings, resume=resume, data="" if settings.network is not None else data)
        group.wait()
        if group.is_first:
            write_run(out, settings, data)
        trackers = trackers_of(settings, out) if group.is_first else []
        if settings.network is not None:
            return Training(settings, out, resume, listener, group, trackers).finish()
        from crab_core.train.file_run import FileTraining

        return FileTraining(settings, out, resume, listener, group, trackers).finish()


def _on_gpus(settings: TrainSettings) -> bool:
    """True if each process has a GPU: runs on generated clips are on the CPU."""
    return settings.network is None and settings.device != "cpu" and torch.cuda.is_available()


@dataclass
class Training:
    """One run in one folder; what is dear is made when first asked for.

    Several processes of a `group` share its steps; the first one writes, the others wait for what they read.
    """

    settings: TrainSettings
    out: Path
    resume: bool = True
    on_progress: Listener = ignore
    group: Group = field(default_factory=Group)
    trackers: Sequence[Tracker] = ()

    def finish(self) -> Path:
        """Trains every stage that has not ended yet; the last one's folder is the model."""
        from crab_core.train.domain import measure_run

        for stage in self.settings.stages:
            if not self.resume or not self.stage_folder(stage).joinpath("crab.json").exists():
                self.group.wait()
                self.train(self.start(stage), stage)
            self.group.wait()
        folder = self.stage_folder(self.settings.stages[-1])
        if self.group.is_first:
            measure_run(folder, self.plan, self._features_path, self.on_progress)
        self.group.wait()
        return folder

    def stage_folder(self, stage: Stage) -> Path:
        """Where the model lies as it was after a stage; the last one is `out/model`."""
        return self.out / ("model" if stage == self.settings.stages[-1] else stage.name)

    def start(self, stage: Stage) -> CrabModel:
        """The network before a stage: that of the stage before as its folder has it, or a new one."""
        from crab_core.train.network import new_model, read_model

        at = self.settings.stages.index(stage)
        if at:
            return read_model(self.stage_folder(self.settings.stages[at - 1]))
        torch.manual_seed(self.settings.seed)
        assert self.settings.network is not None
        return new_model(self.settings.network, self.tokenizer)

    def train(self, model: CrabModel, stage: Stage) -> None:
        """One stage, from its last checkpoint if there is one, and its model folder."""
        from crab_core.train.masks import AVS
        from crab_core.train.network import add_ilora, deepen, only_train, write_model

        torch.manual_seed(self.settings.seed)
        if stage == next((one for one in self.settings.stages if one.kind == "language"), None):
            self.introduce(model)
        if stage.deepen:
            model = deepen(model, stage.deepen, stage.deepen_above)
        if stage.ilora is not None and model.config.ilora is None:
            model = add_ilora(model, stage.ilora)
        trained = only_train(model, stage.train)
        self.on_progress(Note(f"stage '{stage.name}': {trained / 1e6:.2f} M parameters learn, {stage.steps} steps"))
        began = time.monotonic()

        def write(folder: Path, curve: Sequence[Mapping[str, float]], _: object = None) -> None:
            facts = {
                "stage": stage.name,
                "seconds": round(time.monotonic() - began),
                "generator": fingerprint(load_bank()),
                "curve": curve,
            }
            write_model(model, self.tokenizer, folder, self.settings, facts)

        loop = StageLoop(
            self.work(model, stage),
            stage,
            self.checkpoints,
            write,
            offset=self.offset(stage),
            seed=self.settings.seed,
            on_progress=self.on_progress,
            group=self.group,
            trackers=self.trackers,
        )
        curve = loop.run(resume=self.resume)
        if stage.sketch_weight and "masks" not in stage.train:
            loop.work.module.sketches.hand_over(model.capabilities[AVS].mask_decoder)
        if stage.match_heads and stage.kind == "language":
            self.match(model, stage)
        if self.group.is_first:
            write(self.stage_folder(stage), curve)

    def match(self, model: CrabModel, stage: Stage) -> None:
        """Puts the heads of all layers under one number, by some of the clips of the run."""
        from crab_core.train.matching import CLIPS, match_heads
        from crab_core.train.texts import RowMaker

        features = self.features(model)
        match_heads(
            model.eval(),
            stage,
            Features(features.seen[:CLIPS], features.heard[:CLIPS]),
            self.targets.seconds[:CLIPS],
            lambda one: RowMaker(self.tokenizer, model, self.scenes, self.pool.maps, one),
            self.settings.seed,
        )

    def offset(self, stage: Stage) -> int:
        """How many steps the stages before this one have."""
        before = self.settings.stages[: self.settings.stages.index(stage)]
        return sum(one.until or one.steps for one in before)

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of the run."""
        return Checkpoints(self.out, self.settings.keep, self.on_progress)

    def work(self, model: CrabModel, stage: Stage) -> Work:
        """What a stage learns from, by the number of its step."""
        module, make = self.task_of(model, stage)
        if self.group.is_shared:
            share_norms(module)
        pieces = SharedPieces(module, make, stage, self.group)
        begin = partial(_fit_heads, module, make, stage) if stage.lookup_weight else None
        return Work(module, pieces, lambda step: [f"item {one}" for one in pieces.items(step)], begin=begin)

    def task_of(self, model: CrabModel, stage: Stage) -> tuple[Any, MakeBatches]:
        """The module that learns in a stage and what makes its batches."""
        from crab_core.train.batches import LanguageBatches, audio_batches, drawing_batches, visual_batches
        from crab_core.train.dense import AudioStage, VisualStage
        from crab_core.train.language import LanguageStage
        from crab_core.train.lookups import named_by_token
        from crab_core.train.masks import mask_batch
        from crab_core.train.sketches import MaskStage
        from crab_core.train.texts import RowMaker

        seed, media = self.settings.seed, model.config.media
        if stage.kind == "visual":
            make = visual_batches(self.pool, self.targets, seed, media.mean, media.std)
            return VisualStage(model, len(THINGS), places=stage.places), make
        if stage.kind == "audio":
            return AudioStage(model, len(SOUNDING)), audio_batches(self.pool, self.targets, seed)
        if stage.kind == "masks":
            return MaskStage(model), drawing_batches(self.pool, self.scenes, seed, media.mean, media.std)
        features, stills = self.features(model), None
        rows = RowMaker(self.tokenizer, model, self.scenes, self.pool.maps, stage)
        projected = not {"vl_projector", "al_projector", "tags"} & set(stage.train)
        if projected:  # the rows stay as they are: made once, not at every step
            if rows.still_share or stage.stills:
                stills = self.rows(model, features, still=True)
            features = self.rows(model, features)
        masks = None
        draws = "masks" in stage.train
        if draws or stage.sketch_weight:
            masks = partial(mask_batch, pool=self.pool, mean=media.mean, std=media.std)
        names = named_by_token(self.tokenizer) if stage.lookup_weight else None
        recalls = stage.recall_weight > 0
        batches = LanguageBatches(features, self.targets.seconds, rows, seed, stills, masks, names, recalls)
        learner = LanguageStage(
            model,
            stage.answer_weight,
            stage.mask_weight,
            projected=projected,
            lookup_weight=stage.lookup_weight,
            lookup_layer=stage.lookup_layer,
            change_weight=stage.change_weight,
            recall_weight=stage.recall_weight,
            recall_layer=stage.recall_layer,
            sketch_weight=stage.sketch_weight,
            draws=draws,
        )
        return learner, partial(batches.pieces, stills=stage.stills)

    def introduce(self, model: CrabModel) -> None:
        """Makes a new LLM and the rows that it will read fit for each other, before its first stage."""
        from crab_core.train.naming import class_directions
        from crab_core.train.network import match_alike, name_rows, soften

        soften(model)
        match_alike(model)
        name_rows(model, class_directions(model, self.features(model), self.targets, self.tokenizer))

    @property
    def data(self) -> WorldData:
        """The clips of the run."""
        assert isinstance(self.settings.data, WorldData)
        return self.settings.data

    @cached_property
    def plan(self) -> PoolPlan:
        """Which clips the run learns from."""
        data = self.data
        return PoolPlan("train", data.clips, data.seed, data.short_share)

    @cached_property
    def pool(self) -> Pool:
        """The rendered clips."""
        with self.group.first_goes_first():
            return open_pool(self.plan, self.out / "cache", processes=self.data.processes, on_progress=self.on_progress)

    @cached_property
    def scenes(self) -> list[Scene]:
        """The scenes of the clips, in order."""
        return [self.plan.scene(index) for index in range(self.plan.clips)]

    @cached_property
    def targets(self) -> DenseTargets:
        """The dense labels of the clips."""
        return dense_targets(self.pool, self.scenes)

    def features(self, model: CrabModel) -> Features:
        """What the encoders give for every clip, from the cache if these very encoders were asked before."""
        media = model.config.media
        return self._kept(
            self._features_path(model),
            lambda: encode_pool(model, self.pool, media.mean, media.std, on_progress=self.on_progress),
        )

    def _features_path(self, model: CrabModel) -> Path:
        from crab_core.train.network import encoder_key

        return self.out / "cache" / f"features-{self.plan.key}-{encoder_key(model)}.pt"

    def rows(self, model: CrabModel, features: Features, *, still: bool = False) -> Features:
        """What `project` makes of the features, from the cache if these very projectors were asked before."""
        from crab_core.train.network import senses_key

        name = f"{'stills' if still else 'rows'}-{self.plan.key}-{senses_key(model)}.pt"
        return self._kept(self.out / "cache" / name, lambda: project(model, features, still=still))

    def _kept(self, path: Path, make: Callable[[], Features]) -> Features:
        """Features from their file in the cache, which is made if there is none."""
        with self.group.first_goes_first():
            if not path.exists():
                made = make()
                torch.save({"seen": made.seen, "heard": made.heard}, path.with_suffix(".part"))
                path.with_suffix(".part").rename(path)
            return Features(**torch.load(path, weights_only=True, mmap=True))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the run, learnt from the world's texts once and kept."""
        with self.group.first_goes_first():
            return self._tokenizer()

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        from transformers import PreTrainedTokenizerFast

        from crab_core.train.tokenizer import build_tokenizer, world_corpus

        folder = self.out / "tokenizer"
        if folder.joinpath("tokenizer.json").exists():
            return PreTrainedTokenizerFast.from_pretrained(folder)
        data = self.data
        try:
            tokenizer = build_tokenizer(
                world_corpus(min(CORPUS_CLIPS, data.clips), data.seed), self.settings.vocabulary
            )
        except ValueError as err:
            raise UsageError(str(err), hint="Raise it: --set vocabulary=1000") from err
        tokenizer.save_pretrained(folder)
        return tokenizer


def _fit_heads(learner: LanguageStage, make: MakeBatches, stage: Stage) -> None:
    """What reads facts off the states begins fitted to batches of which no step learns."""
    rows = range(stage.batch + stage.stills)
    learner.fit_heads(
        batch
        for start in range(FIT_ITEMS, FIT_ITEMS + FIT_BATCHES * stage.batch, stage.batch)
        for batch in make(range(start, start + stage.batch), [rows])
    )
