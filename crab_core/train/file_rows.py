"""Lessons that were looked at become packed rows: texts share what is seen and heard and do not see one another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from crab_core.errors import UsageError
from crab_core.train.looking import Looked
from crab_core.train.packing import AUDIO, IGNORED, VIDEO, Packed, Row, Text, mask_positions, pack

if TYPE_CHECKING:
    from crab_core.train.roles import ChatText
    from crab_core.types import Medium, Prompt

ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)
MARKS: Mapping[Medium, int] = {"video": VIDEO, "image": VIDEO, "audio": AUDIO}


@dataclass(frozen=True)
class Piece:
    """Rows that the network reads at once: packed texts, each row's media, and the pixels of masks.

    `places` (K, t) are the positions among all B L whose states tell a mask, `shot` (K,) its row, `truths` K masks,
    bool or the class of each pixel. `order` is the order in which each row's prompt shows its media of sight, `tokens`
    the sum of the targets' weights, `tables` the capability by whose tables the rows are read, "" for the LLM's own.
    """

    looked: tuple[Looked, ...]
    packed: Packed
    order: tuple[tuple[Medium, ...], ...]
    places: torch.Tensor
    shot: tuple[int, ...]
    truths: tuple[torch.Tensor, ...]
    tokens: float
    tables: str

    @property
    def masks(self) -> int:
        """How many masks are told."""
        return len(self.truths)


@dataclass(frozen=True)
class RowWriter:
    """Writes lessons in a network's own chat; `queries` is how many places one look takes, by medium.

    A token of a short answer counts `answer_weight` times. `draws` if masks are learnt and not only their words, of at
    most so many `classes`.
    """

    chat: ChatText
    queries: Mapping[Medium, int]
    answer_weight: float = 1.0
    positions: int = 1 << 30
    draws: bool = False
    classes: int = 0

    def piece(self, looked: Sequence[Looked], tables: str) -> Piece:
        """The lessons as one batch.

        Raises UsageError for one longer than the network's positions, and for a class beyond the decoder's.
        """
        rows = [self.row(one) for one in looked]
        packed = pack(rows)
        length = packed.ids.shape[1]
        deepest = int(packed.positions.max()) + 1
        if deepest > self.positions:
            ids = ", ".join(name for one in looked for name in one.lesson.ids)
            raise UsageError(
                f"a text of {deepest} tokens is longer than the network's {self.positions}: {ids}",
                hint="Shorten it in the data file.",
            )
        places, shot, truths = [], [], []
        for number, (row, one) in enumerate(zip(rows, looked, strict=True)):
            told = [truth for text, truth in zip(row.texts, one.truths, strict=True) if text.masks]
            for (_, at), truth in zip(mask_positions(row), told, strict=True):
                if self.draws and truth is not None:
                    self._check(truth, one)
                    places.append([number * length + position for position in at])
                    shot.append(number)
                    truths.append(truth)
        kept = packed.labels[:, 1:] != IGNORED
        weights = torch.where(packed.answers[:, 1:][kept], self.answer_weight, 1.0)
        order = tuple(tuple(kind for kind in one.prompts[0].media if kind != "audio") for one in looked)
        return Piece(
            tuple(looked),
            packed,
            order,
            torch.tensor(places),
            tuple(shot),
            tuple(truths),
            float(weights.sum()),
            tables,
        )

    def _check(self, truth: torch.Tensor, looked: Looked) -> None:
        if truth.dtype != torch.bool and int(truth.max()) >= self.classes:
            raise UsageError(
                f"class {int(truth.max())} of '{looked.lesson.ids[0]}' is beyond the model's {self.classes}",
                hint="Check the map: crab data check FILE",
            )

    def row(self, looked: Looked) -> Row:
        """The shared prefix, and behind it each text."""
        split = [self._split(prompt) for prompt in looked.prompts]
        texts = [self._text(rest, target) for (_, rest), target in zip(split, looked.targets, strict=True)]
        return Row(self._prefix(split[0][0], looked), tuple(texts))

    def _split(self, prompt: Prompt) -> tuple[list[int], list[int]]:
        """The ids up to the last medium, and the rest."""
        ids = self.chat.prompt_ids(prompt)
        last = max(at for at, token in enumerate(ids) if token in self.chat.placeholders)
        return ids[: last + 1], ids[last + 1 :]

    def _prefix(self, ids: Sequence[int], looked: Looked) -> tuple[int, ...]:
        """Placeholders become the places of what is there of their medium."""
        found: list[int] = []
        for token in ids:
            kind = self.chat.placeholders.get(token)
            found += [token] if kind is None else [MARKS[kind]] * (_looks(looked, kind) * self.queries[kind])
        return tuple(found)

    def _text(self, prompt: Sequence[int], target: str) -> Text:
        ids = self.chat.target_ids(target)
        masks = tuple(at for at, token in enumerate(ids) if token in self.chat.mask_ids)
        return Text(tuple(prompt), tuple(ids), self._answer(target), (), masks)

    def _answer(self, target: str) -> tuple[int, int]:
        """Where the tokens of the tagged answer are."""
        told = ANSWER.search(target)
        if told is None or not told[1] or self.answer_weight == 1.0:
            return 0, 0
        spans = self.chat.tokenizer(target, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        inside = [at for at, (start, end) in enumerate(spans) if start < told.end(1) and end > told.start(1)]
        return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _looks(looked: Looked, kind: Medium) -> int:
    """How many frames or seconds of a medium a lesson has."""
    name = {"video": ("frames", "seen"), "image": ("frames", "seen"), "audio": ("banks", "heard")}[kind]
    tensor = next((looked.media[one] for one in name if one in looked.media), None)
    if tensor is None:
        return 0
    return 1 if kind == "image" else len(tensor)
