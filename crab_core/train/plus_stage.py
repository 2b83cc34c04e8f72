"""Learning from annotated clips with a network of the Crab+ family: the I-LoRA of its decoder and of both its towers.

Source: Crab+ (arXiv 2603.04128). The towers carry adapters, so that nothing that they give can be kept: every step
encodes its clips anew. What is learnt begins with the newline after the chat's "assistant", as published, and ends with
the end of the turn. Letters: B rows, L positions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.plus_positions import Grid, positions
from crab_core.nn.splice import IGNORED, Row, Splicer
from crab_core.train.looking import Looked, Tensors

if TYPE_CHECKING:
    from crab_core.nn.plus import PlusModel
    from crab_core.train.roles import ChatText
    from crab_core.types import Medium

ANSWER = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL)


@dataclass(frozen=True)
class PlusText:
    """A prompt and its target as ids, and how much each token of the target counts."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class PlusPiece:
    """Rows that the network reads at once: for each clip its texts. `tokens` is the sum of all weights."""

    looked: tuple[Looked, ...]
    texts: tuple[tuple[PlusText, ...], ...]
    tokens: float
    masks: int = 0


@dataclass(frozen=True)
class PlusWriter:
    """Writes lessons in the network's own chat; a token of a short answer counts `answer_weight` times."""

    chat: ChatText
    answer_weight: float
    places: int

    def piece(self, looked: Sequence[Looked], tables: str) -> PlusPiece:
        """The lessons as one batch; raises UsageError for one longer than the network's positions."""
        texts = tuple(self._texts(one) for one in looked)
        weights = [sum(text.weights) for row in texts for text in row]
        return PlusPiece(tuple(looked), texts, float(sum(weights)))

    def _texts(self, looked: Looked) -> tuple[PlusText, ...]:
        media = sum(len(looked.media["frames"]) // 4 if name == "frames" else 0 for name in looked.media)
        media += looked.media["banks"].shape[-1] // 4 if "banks" in looked.media else 0
        found = []
        for prompt, target in zip(looked.prompts, looked.targets, strict=True):
            ids, wanted = self.chat.prompt_ids(prompt), self.chat.target_ids(target)
            if media + len(ids) + len(wanted) > self.places:
                raise UsageError(
                    f"a text is longer than the network's {self.places} places: {looked.lesson.ids[0]}",
                    hint="Shorten it in the data file.",
                )
            # the newline that ends the prompt is learnt too
            found.append(PlusText(tuple(ids[:-1]), (ids[-1], *wanted), (1.0, *self._weights(target, len(wanted)))))
        return tuple(found)

    def _weights(self, target: str, count: int) -> tuple[float, ...]:
        told = ANSWER.search(target)
        if told is None or not told[1] or self.answer_weight == 1.0:
            return (1.0,) * count
        spans = self.chat.tokenizer(target, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        inside = [start < told.end(1) and end > told.start(1) for start, end in spans]
        return tuple(self.answer_weight if one else 1.0 for one in inside) + (1.0,) * (count - len(inside))


class PlusStage(nn.Module):
    """`forward(piece, tokens, masks)` gives a piece's part of the step's loss; `tokens` is the whole step's count.

    `dtype` is what frozen weights compute in; learning weights are kept in float32 and cast as they are used.
    """

    own_tables: frozenset[str] = frozenset()

    def __init__(self, model: PlusModel, chat: ChatText, pad_id: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.splicer = Splicer(chat.placeholders, pad_id)

    def forward(self, piece: PlusPiece, tokens: float, masks: float) -> Mapping[str, torch.Tensor]:
        """`loss`, `token_accuracy` and `tokens`: sums over a step's pieces are the step's."""
        rows: list[Row] = []
        grids: list[Mapping[Medium, Grid]] = []
        weights: list[tuple[float, ...]] = []
        with self.computing():
            for looked, texts in zip(piece.looked, piece.texts, strict=True):
                features, grid = self._seen(looked)
                rows += [Row([*one.prompt, *one.target], len(one.prompt), features) for one in texts]
                grids += [grid] * len(texts)
                weights += [one.weights for one in texts]
            made = self.splicer(rows, self.model.embed)
            length = made.embeds.shape[1]
            stands = [
                positions(one, length, grid, self.model.per_second)
                for one, grid in zip(made.stretches, grids, strict=True)
            ]
            stood = torch.stack(stands, dim=1).to(self.model.device)
            states = self.model.read(made.embeds, made.attention_mask, stood)
            wanted = made.labels[:, 1:]
            kept = wanted != IGNORED
            logits = self.model.logits(states[:, :-1][kept]).float()
            counts = torch.tensor([weight for row in weights for weight in row], device=logits.device)
            losses = F.cross_entropy(logits, wanted[kept], reduction="none")
            right = (logits.argmax(-1) == wanted[kept]).float()
        return {
            "loss": (losses * counts).sum() / tokens,
            "token_accuracy": (right * counts).sum().detach() / tokens,
            "tokens": kept.sum() * math.isfinite(tokens),
        }

    def encoded(self, looked: Looked) -> Looked:
        """As it was: adapted towers give something else after every step."""
        return looked

    def computing(self) -> AbstractContextManager[object]:
        """The precision of computing."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=self.dtype)

    def _seen(self, looked: Looked) -> tuple[Mapping[Medium, torch.Tensor], Mapping[Medium, Grid]]:
        """What the towers give now, and how a picture's tokens lie."""
        media: Tensors = {name: one.to(self.model.device) for name, one in looked.media.items()}
        features: dict[Medium, torch.Tensor] = {}
        grids: dict[Medium, Grid] = {}
        if "frames" in media:
            kind: Medium = "image" if "image" in looked.prompts[0].media else "video"
            steps, high, wide = (int(one) for one in media["grid"])
            features[kind] = self.model.see(media["frames"], (steps, high, wide))
            grids[kind] = Grid(high // 2, wide // 2, float(media["step"]) if kind == "video" else 0.0)
        if "banks" in media:
            features["audio"] = self.model.hear(media["banks"])[None]
        return features, grids
