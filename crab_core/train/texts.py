"""Texts of a scene as packed rows: a weighted choice of its tasks behind one media prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from crab_core.train.packing import AUDIO, VIDEO, Row, Text
from crab_core.train.settings import Stage
from crab_core.train.tokenizer import prompt_text
from crab_core.world.labels import label
from crab_core.world.questions import Sample, samples
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from crab_core.nn.crab import CrabModel

ANSWER_TAGS = ("<answer>", "</answer>")
LAST_OF_PREFIX = "<audio_end>"
WITHHELD = 0.03  # of the visits are without pictures, as many without sound
CONTENT = "content"  # stands for the message while the chat template is put around it, once instead of for every text


class RowMaker:
    """Makes the row of a clip: `stage.samples` texts drawn by `stage.tasks`, new ones at every visit."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, model: CrabModel, scenes: Sequence[Scene], stage: Stage
    ) -> None:
        self.tokenizer, self.scenes, self.stage = tokenizer, scenes, stage
        self.queries = {VIDEO: model.config.vl.queries, AUDIO: model.config.al.queries}
        self.ids = {
            VIDEO: tokenizer.convert_tokens_to_ids("<video>"), AUDIO: tokenizer.convert_tokens_to_ids("<audio>")
        }  # fmt: skip
        self.answer_tags = tuple({self._encode(blank + tag)[-1] for blank in ("", " ")} for tag in ANSWER_TAGS)
        self.prefix_of = lru_cache(maxsize=None)(self._prefix)
        message = [{"role": "user", "content": CONTENT}]
        whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        self.before, _, self.after = whole.partition(CONTENT)

    def __call__(self, clip: int, rng: np.random.Generator) -> Row:
        """The row of clip number `clip`; at times its pictures or its sound are withheld, and the texts know it."""
        share = rng.random()
        sees, hears = share >= WITHHELD, share < 1 - WITHHELD
        scene = _withhold(self.scenes[clip], sees=sees, hears=hears)
        made = samples(scene, label(scene), rng, tasks=tuple(self.stage.tasks), direct=1 - self.stage.reasoning)
        chosen = self._choose(made, rng)
        texts = [self._split(sample) for sample in chosen]
        prefix = self.prefix_of(texts[0][0], scene.seconds if sees else 0, scene.seconds if hears else 0)
        return Row(prefix, tuple(text for _, text in texts), sees, hears)

    def _choose(self, made: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
        """Samples without repetition; each task has its weight, shared by its samples."""
        counts = {task: sum(sample.task == task for sample in made) for task in self.stage.tasks}
        weights = np.array([self.stage.tasks[sample.task] / counts[sample.task] for sample in made])
        size = min(self.stage.samples, int((weights > 0).sum()))
        return [made[at] for at in rng.choice(len(made), size, replace=False, p=weights / weights.sum())]

    def _split(self, sample: Sample) -> tuple[str, Text]:
        """The media prefix as text, and what follows it as ids."""
        prefix, mark, rest = prompt_text(sample.prompt).partition(LAST_OF_PREFIX)
        target = (*self._encode(sample.target), self.tokenizer.eos_token_id)
        return self.before + prefix + mark, Text(tuple(self._encode(rest + self.after)), target, self._answer(target))

    def _answer(self, target: tuple[int, ...]) -> tuple[int, int]:
        """Where the tagged answer of a target is, without its tags."""
        opened = [at for at, token in enumerate(target) if token in self.answer_tags[0]]
        closed = [at for at, token in enumerate(target) if token in self.answer_tags[1]]
        return (opened[-1] + 1, closed[-1]) if opened and closed else (0, 0)

    def _prefix(self, text: str, frames: int, seconds: int) -> tuple[int, ...]:
        """The prefix as ids, each placeholder replaced by the places of its features."""
        ids: list[int] = []
        looks = {VIDEO: frames, AUDIO: seconds}
        for token in self._encode(text):
            medium = next((mark for mark, known in self.ids.items() if known == token), None)
            ids += [token] if medium is None else [medium] * (looks[medium] * self.queries[medium])
        return tuple(ids)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))


def _withhold(scene: Scene, *, sees: bool, hears: bool) -> Scene:
    """The scene as it is for somebody without eyes or without ears."""
    if sees and hears:
        return scene
    actors = [actor if sees else replace(actor, seen=None, figures=()) for actor in scene.actors]
    return replace(scene, actors=tuple(actor if hears else replace(actor, heard=None) for actor in actors))
