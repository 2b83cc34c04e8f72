"""A model is asked about clips of the generated world that it never saw; its answers become tables with baselines.

Baselines: `majority`, the answer that training clips give most often to a template; `other clip`, the same model
looking at another clip (what the language alone knows); `whole clip`, the true classes for all seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from crab_core.engine.session import Model
from crab_core.evaluate.baselines import fit_majority, nothing, whole_clip
from crab_core.evaluate.report import Table
from crab_core.evaluate.rows import EventRow, QaRow
from crab_core.evaluate.tables import score_answers, score_localization, score_parsing
from crab_core.progress import Listener, Progress, ignore
from crab_core.registry import TASKS
from crab_core.types import SAMPLE_RATE_HZ, Canvas, Clip, Decoding, Event, Prompt
from crab_core.world.bank import Bank, MixedBank, load_bank
from crab_core.world.labels import label
from crab_core.world.picture import render
from crab_core.world.questions import Sample, samples
from crab_core.world.scene import sample_scene
from crab_core.world.sound import render_sound
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    from crab_core.families._base import Encoded

SECONDS = 10
MAJORITY_CLIPS = 2_000
OPEN = "Open"  # questions with a list or a time as their answer: no type of MUSIC-AVQA, and not scored here
OWN_SIZE = (224, 224)  # frames for a network that takes them at their own size
TOKENS: Mapping[str, int] = {"avqa": 96, "ave": 128, "avvp": 112}


@dataclass(frozen=True, slots=True)
class WorldTest:
    """Which clips: a split, how many, how many questions each, and whose drawings and sounds.

    `chosen` are the numbers of the clips in their split, which else are the first ones. `other_clip` also asks the
    model about wrong clips, which doubles the time that questions take. `direct` asks for answers without reasons, in
    the wording that training has for them.
    """

    split: str = "test"
    clips: int = 1_000
    seed: int = 0
    questions: int = 4
    held_out_phrasing: bool = False
    other_clip: bool = True
    drawings: Path | None = None
    recordings: Path | None = None
    batch: int = 32
    direct: bool = False
    chosen: tuple[int, ...] | None = None

    def bank(self) -> Bank:
        """The shipped bank, or one with the drawings or the recordings of another file."""
        if self.drawings is None and self.recordings is None:
            return load_bank()
        return MixedBank(load_bank(self.drawings), load_bank(self.recordings))

    def scenes(self, bank: Bank) -> list[Scene]:
        """The scenes of the clips, in order."""
        numbers = range(self.clips) if self.chosen is None else self.chosen[: self.clips]
        return [sample_scene(self.split, index, seed=self.seed, bank=bank, seconds=SECONDS) for index in numbers]


def evaluate_world(model: Model, test: WorldTest, on_progress: Listener = ignore) -> tuple[Table, ...]:
    """AVQA, AVE and AVVP tables of a model, with intervals by clip and baselines beside each number.

    There is no AVE table where none of the clips has one event that is both seen and heard.
    """
    return WorldRun(model, test, on_progress).tables()


@dataclass
class WorldRun:
    """What a model says about the clips of a test, as rows beside the truth; each clip is looked at once."""

    model: Model
    test: WorldTest
    on_progress: Listener = ignore

    @cached_property
    def bank(self) -> Bank:
        """The drawings and sounds of the test."""
        return self.test.bank()

    @cached_property
    def scenes(self) -> list[Scene]:
        """The scenes of the clips."""
        return self.test.scenes(self.bank)

    @cached_property
    def encoded(self) -> list[Encoded]:
        """Every clip as the network sees and hears it."""
        network, found = self.model.network, []
        for number, scene in enumerate(self.scenes):
            width, _ = network.frame_size or OWN_SIZE
            found.append(network.encode(clip_of(scene, self.bank, width), "avqa"))
            if number % 100 == 0:
                self.on_progress(Progress("look", number, len(self.scenes), "clips"))
        return found

    def answers(self, shift: int = 0) -> list[QaRow]:
        """The answers to all questions, looking `shift` clips further on."""
        asked = [(number, sample) for number in range(len(self.scenes)) for sample in self._questions(number)]
        return self._answers(asked, shift)

    def majority(self, rows: Sequence[QaRow]) -> list[QaRow]:
        """What training clips answer most often to the same questions."""
        return list(fit_majority(self._training_answers()).rows(rows))

    def events(self, task: Literal["ave", "avvp"]) -> list[EventRow]:
        """The events of all clips, for ave of those with one event that is both seen and heard."""
        chosen = [number for number, scene in enumerate(self.scenes) if task == "avvp" or scene.kind == "ave"]
        return self._events([(number, self._sample(number, task)) for number in chosen])

    def tables(self) -> tuple[Table, ...]:
        """One table a task."""
        mine = self.answers()
        baselines = {"majority": self.majority(mine)}
        if self.test.other_clip:
            baselines["other clip"] = self.answers(shift=1)
        found_ave, found_avvp = self.events("ave"), self.events("avvp")
        tables = [score_answers(mine, baselines), score_parsing(found_avvp, {"whole clip": whole_clip(found_avvp)})]
        if found_ave:  # a fifth of the clips has one event that is both seen and heard; a handful may have none
            others = {"whole clip": whole_clip(found_ave), "nothing": nothing(found_ave)}
            tables.insert(1, score_localization(found_ave, others))
        return tuple(tables)

    def _questions(self, number: int) -> list[Sample]:
        """Some questions of a clip, each template at most once, drawn by the clip's own numbers."""
        scene = self.scenes[number]
        rng = np.random.default_rng([scene.seed, scene.index, 9])
        held_out, direct = self.test.held_out_phrasing, float(self.test.direct)
        made = samples(scene, label(scene), rng, held_out=held_out, tasks=("avqa",), direct=direct)
        made = [sample for sample in made if sample.type != OPEN]
        chosen = rng.choice(len(made), min(self.test.questions, len(made)), replace=False)
        return [made[at] for at in sorted(chosen)]

    def _sample(self, number: int, task: str) -> Sample:
        scene = self.scenes[number]
        rng = np.random.default_rng([scene.seed, scene.index, 10])
        # `held_out` asks with the one wording that the command line uses too
        return samples(scene, label(scene), rng, held_out=True, tasks=(task,))[0]

    def _training_answers(self) -> Iterator[tuple[str, str]]:
        bank = load_bank()
        for index in range(MAJORITY_CLIPS):
            scene = sample_scene("train", index, bank=bank)
            for sample in samples(scene, label(scene), np.random.default_rng([index, 11]), tasks=("avqa",)):
                yield sample.template, sample.answer

    def _texts(self, asked: Sequence[tuple[int, Sample]], shift: int = 0) -> list[str]:
        """What the model writes to each question, `shift` clips further on."""
        order = sorted(range(len(asked)), key=lambda at: asked[at][1].template)  # like lengths together
        written: dict[int, str] = {}
        for start in range(0, len(order), self.test.batch):
            chosen = [asked[at] for at in order[start : start + self.test.batch]]
            prompts: list[Prompt] = [sample.prompt for _, sample in chosen]
            media = [self.encoded[(number + shift) % len(self.encoded)] for number, _ in chosen]
            decoding = Decoding(max_new_tokens=TOKENS[chosen[0][1].task])
            told = self.model.network.generate_batch(media, prompts, decoding)
            written |= {at: one.text for at, one in zip(order[start : start + len(chosen)], told, strict=True)}
            self.on_progress(Progress(chosen[0][1].task, start + len(chosen), len(order), "texts"))
        return [written[at] for at in range(len(asked))]

    def _answers(self, asked: Sequence[tuple[int, Sample]], shift: int = 0) -> list[QaRow]:
        read = TASKS["avqa"].load().read
        rows = []
        for (number, sample), text in zip(asked, self._texts(asked, shift), strict=True):
            answer = read(text, Canvas(SECONDS)).answer
            said = answer.text if answer else ""
            rows.append(QaRow(str(number), sample.template, sample.type, sample.modality, said, sample.answer))
        return rows

    def _events(self, asked: Sequence[tuple[int, Sample]]) -> list[EventRow]:
        rows = []
        for (number, sample), text in zip(asked, self._texts(asked), strict=True):
            read, canvas = TASKS[sample.task].load().read, Canvas(SECONDS)
            found: tuple[Event, ...] = read(text, canvas).events
            rows.append(EventRow(str(number), SECONDS, found, read(sample.target, canvas).events))
        return rows


def clip_of(scene: Scene, bank: Bank, size_px: int) -> Clip:
    """A scene as the clip that decoding its film would give, but for compression."""
    frames, _ = render(scene, bank, size=size_px)
    sound = render_sound(scene, bank)[: scene.seconds * SAMPLE_RATE_HZ]
    return Clip(
        path=Path(f"{scene.split}-{scene.index}"),
        duration_s=float(scene.seconds),
        frame_times_s=np.arange(scene.seconds, dtype=np.float64),
        frames=frames,
        waveform=sound.astype(np.float32),
        sound_windows_s=tuple((float(second), second + 1.0) for second in range(scene.seconds)),
        size=(size_px, size_px),
        audio="used",
    )
