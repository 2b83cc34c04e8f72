"""Texts of a scene as packed rows: a weighted choice of its tasks behind one media prefix."""

from __future__ import annotations

from collections.abc import Sequence
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

LAST_OF_PREFIX = "<audio_end>"


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
        self.prefix_of = lru_cache(maxsize=None)(self._prefix)

    def __call__(self, clip: int, rng: np.random.Generator) -> Row:
        """The row of clip number `clip`."""
        scene = self.scenes[clip]
        made = samples(scene, label(scene), rng, tasks=tuple(self.stage.tasks), direct=1 - self.stage.reasoning)
        chosen = self._choose(made, rng)
        texts = [self._split(sample) for sample in chosen]
        return Row(self.prefix_of(texts[0][0], scene.seconds), tuple(text for _, text in texts))

    def _choose(self, made: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
        """Samples without repetition; each task has its weight, shared by its samples."""
        counts = {task: sum(sample.task == task for sample in made) for task in self.stage.tasks}
        weights = np.array([self.stage.tasks[sample.task] / counts[sample.task] for sample in made])
        size = min(self.stage.samples, int((weights > 0).sum()))
        return [made[at] for at in rng.choice(len(made), size, replace=False, p=weights / weights.sum())]

    def _split(self, sample: Sample) -> tuple[str, Text]:
        """The media prefix as text, and what follows it as ids."""
        message = [{"role": "user", "content": prompt_text(sample.prompt)}]
        whole = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        prefix, mark, rest = whole.partition(LAST_OF_PREFIX)
        target = [*self._encode(sample.target), self.tokenizer.eos_token_id]
        return prefix + mark, Text(tuple(self._encode(rest)), tuple(target))

    def _prefix(self, text: str, seconds: int) -> tuple[int, ...]:
        """The prefix as ids, each placeholder replaced by the places of its features."""
        ids: list[int] = []
        for token in self._encode(text):
            medium = next((mark for mark, known in self.ids.items() if known == token), None)
            ids += [token] if medium is None else [medium] * (seconds * self.queries[medium])
        return tuple(ids)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))
