"""Texts of a scene as packed rows: a weighted choice of its tasks behind one media prefix.

A row is about a whole clip, or about one second of it where the tasks are of a still picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from crab_core.train.lookups import Facts, facts_of_clip, facts_of_second
from crab_core.train.packing import AUDIO, VIDEO, Row, Text
from crab_core.train.settings import Stage
from crab_core.train.targets import THINGS
from crab_core.train.tokenizer import LARGEST_NUMBER, MASK_TOKENS, prompt_text
from crab_core.world.labels import label
from crab_core.world.moments import MOMENT_TASKS, moment_samples, pick_second, sights
from crab_core.world.narration import LEVELS
from crab_core.world.questions import TEXT_TASKS, Sample, samples
from crab_core.world.reading import told
from crab_core.world.spec import COLUMNS, Scene

if TYPE_CHECKING:
    import numpy.typing as npt
    from transformers import PreTrainedTokenizerFast

    from crab_core.nn.crab import CrabModel

ANSWER_TAGS = ("<answer>", "</answer>")
LAST_OF_PREFIX = "<audio_end>"
TOLD_IN_NUMBERS = ("ave", "arig", "ssl")
WITHHELD = 0.03  # of the visits are without pictures, as many without sound
READ_MORE = 2  # as many questions as about a clip's media, since they are short
# what texts tell of a name beside numbers: its place, from the preposition on, and its level, by their first words
VALUES = ("in", "on", "off", *COLUMNS, "both", *(words.partition(" ")[0] for words in LEVELS.values()))
FURTHEST = 80  # positions that a name on its own is behind its media, about as far as names in texts are
CONTENT = "content"  # stands for the message while the chat template is put around it, once instead of for every text


class RowMaker:
    """Makes the row of a clip: `stage.samples` texts drawn by the weights of its tasks, new ones at every visit.

    `maps` (n, T, M, M) are the instance ids of the clips' pictures.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        model: CrabModel,
        scenes: Sequence[Scene],
        maps: npt.NDArray[np.uint8],
        stage: Stage,
    ) -> None:
        self.tokenizer, self.scenes, self.maps, self.stage = tokenizer, scenes, maps, stage
        self.queries = {VIDEO: model.config.vl.queries, AUDIO: model.config.al.queries}
        marks = {"<video>": VIDEO, "<image>": VIDEO, "<audio>": AUDIO}
        self.marks = {tokenizer.convert_tokens_to_ids(token): mark for token, mark in marks.items()}
        self.mask_ids = frozenset(tokenizer.convert_tokens_to_ids(list(MASK_TOKENS)))
        still = sum(weight for task, weight in stage.mixture.items() if task in MOMENT_TASKS)
        self.still_share = still / sum(stage.mixture.values())
        self.answer_tags = tuple({self._encode(blank + tag)[-1] for blank in ("", " ")} for tag in ANSWER_TAGS)
        self.stop = self._encode(".")[-1]
        numbers = [str(number) for number in range(LARGEST_NUMBER + 1)]
        self.numbers = {self._encode(blank + number)[-1] for blank in ("", " ") for number in numbers}
        self.values = self.numbers | {self._encode(f" {word}")[0] for word in VALUES}
        self.prefix_of = lru_cache(maxsize=None)(self._prefix)
        message = [{"role": "user", "content": CONTENT}]
        whole = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        self.before, _, self.after = whole.partition(CONTENT)

    def __call__(self, clip: int, still: bool | None, rng: np.random.Generator) -> Row:
        """The row of clip number `clip`; at times its pictures or its sound are withheld, and the texts know it.

        `still` says whether it is about a single picture; None leaves that to the weights of the tasks. A row without
        texts is one of which no task asks anything.
        """
        if not still and self.stage.reading and rng.random() < self.stage.reading:
            return self._reading(clip, rng)
        if still or (still is None and self.still_share and rng.random() < self.still_share):
            return self._still(clip, rng)
        share = rng.random()
        sees, hears = share >= WITHHELD, share < 1 - WITHHELD
        scene = _withhold(self.scenes[clip], sees=sees, hears=hears)
        labels = label(scene)
        made = samples(scene, labels, rng, tasks=tuple(self.stage.mixture), direct=1 - self.stage.reasoning)
        chosen = self._choose(made, rng)
        texts = [self._split(sample) for sample in chosen]
        prefix = (
            self.prefix_of(texts[0][0], scene.seconds if sees else 0, scene.seconds if hears else 0) if texts else ()
        )
        row = Row(prefix, tuple(text for _, text in texts), sees, hears)
        return self._named(row, facts_of_clip(labels), rng) if self.stage.lookup_weight else row

    def _reading(self, clip: int, rng: np.random.Generator) -> Row:
        """A row without media: the facts of the clip in words, and questions that are answered from them at once."""
        scene = self.scenes[clip]
        labels = label(scene)
        made = samples(scene, labels, rng, tasks=("avqa",), direct=1.0)
        chosen = rng.permutation(len(made))[: self.stage.samples * READ_MORE]
        texts = tuple(self._split(made[at])[1] for at in chosen)
        return Row(tuple(self._encode(self.before + told(labels))), texts, sees=False, hears=False)

    def _still(self, clip: int, rng: np.random.Generator) -> Row:
        """A row about one second of the clip."""
        scene = self.scenes[clip]
        second = pick_second(scene, rng)
        tasks, ids = tuple(self.stage.mixture), self.maps[clip, second]
        made = moment_samples(scene, second, ids, rng, tasks=tasks, expressions=None)
        texts = [self._split(sample) for sample in self._choose(made, rng)]
        prefix = self.prefix_of(texts[0][0], 1, 1) if texts else ()
        row = Row(prefix, tuple(text for _, text in texts), second=second)
        if not self.stage.lookup_weight:
            return row
        shown = sights(scene, second, ids)
        return self._named(row, facts_of_second(label(scene), second, shown), rng)

    def _named(self, row: Row, facts: Facts, rng: np.random.Generator) -> Row:
        """The row with its facts and with some names on their own: first of what is there."""
        if not row.texts:
            return row
        there = facts.present()
        absent = [name for name in THINGS if name not in there]
        order = [*rng.permutation(there), *rng.permutation(absent)][: self.stage.lookups]
        names = [ids for ids in (tuple(self._encode(f" {name}")) for name in order) if len(ids) == 1]
        alone = (
            Text(ids, (), ahead=int(ahead))
            for ids, ahead in zip(names, rng.integers(0, FURTHEST, len(names)), strict=True)
        )
        return replace(row, texts=(*row.texts, *alone), facts=facts)

    def _choose(self, made: Sequence[Sample], rng: np.random.Generator) -> list[Sample]:
        """Samples without repetition; each task has its weight, shared by its samples. None if nothing has a weight."""
        counts = {task: sum(sample.task == task for sample in made) for task in self.stage.mixture}
        often = [self.stage.templates.get(sample.template, 1.0) for sample in made]
        weights = np.array([self.stage.mixture[one.task] / counts[one.task] for one in made]) * often
        size = min(self.stage.samples, int((weights > 0).sum()))
        if not size:
            return []
        return [made[at] for at in rng.choice(len(made), size, replace=False, p=weights / weights.sum())]

    def _split(self, sample: Sample) -> tuple[str, Text]:
        """The media prefix as text, and what follows it as ids."""
        prefix, mark, rest = prompt_text(sample.prompt).partition(LAST_OF_PREFIX)
        target = (*self._encode(sample.target), self.tokenizer.eos_token_id)
        masks = tuple(at for at, token in enumerate(target) if token in self.mask_ids)
        prompt = tuple(self._encode(rest + self.after))
        answer = self._answer(target, sample.task)
        values = (
            tuple(at for at, token in enumerate(target) if token in self.values) if sample.task in TEXT_TASKS else ()
        )
        return self.before + prefix + mark, Text(prompt, target, answer, sample.figures, masks, values)

    def _answer(self, target: tuple[int, ...], task: str) -> tuple[int, int]:
        """Where the tagged answer of a target is, without its tags, with the sentence of the reasons that decides it.

        That is the last of several sentences before the one with the answer; a single one is a list. Where the
        answer is numbers, corners of boxes or the times of an event, it is all from the first of them to the last.
        """
        opened = [at for at, token in enumerate(target) if token in self.answer_tags[0]]
        closed = [at for at, token in enumerate(target) if token in self.answer_tags[1]]
        if not (opened and closed):
            numbers = [at for at, token in enumerate(target) if token in self.numbers]
            return (numbers[0], numbers[-1] + 1) if numbers and task in TOLD_IN_NUMBERS else (0, 0)
        stops = [at for at, token in enumerate(target[: opened[-1]]) if token == self.stop]
        return (stops[-2] if len(stops) > 1 else opened[-1]) + 1, closed[-1]

    def _prefix(self, text: str, frames: int, seconds: int) -> tuple[int, ...]:
        """The prefix as ids, each placeholder replaced by the places of its features."""
        ids: list[int] = []
        looks = {VIDEO: frames, AUDIO: seconds}
        for token in self._encode(text):
            medium = self.marks.get(token)
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
