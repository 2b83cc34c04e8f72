"""Splicing: a row of token ids and the tokens of its media become one row of embeddings, padded on the left.

    text text <video> text  +  video (T, Q, D)   ->   text text v v v v v v text

Source: Crab (arXiv 2503.13068, section 3.2): the placeholder goes, the marks around it stay, media are never labels.
Parity: tests/parity/test_parity_splice_logits.py.
Letters: B rows, L positions, T frames or seconds, Q queries, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from crab_core.types import Medium

IGNORED = -100  # a label that the loss leaves out


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence before splicing.

    `ids` holds prompt and target, of which the first `prompt_tokens` are no labels; `features` gives each medium's
    tokens (T, Q, D). A placeholder whose medium is lacking is replaced by nothing.
    """

    ids: Sequence[int]
    prompt_tokens: int
    features: Mapping[Medium, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Positions [start, end) of a spliced row that hold one frame or second of a medium, or a run of text."""

    kind: Medium
    start: int
    end: int
    index: int = -1


@dataclass(frozen=True, slots=True)
class Spliced:
    """A batch ready for the LLM; `stretches` counts positions of the padded rows."""

    embeds: torch.Tensor  # (B, L, D)
    attention_mask: torch.Tensor  # (B, L) int64, 0 on padding
    position_ids: torch.Tensor  # (B, L)
    labels: torch.Tensor  # (B, L)
    mask_tokens: torch.Tensor  # (B, L) bool: positions that predict a mask token
    stretches: tuple[tuple[Stretch, ...], ...]


@dataclass(frozen=True, slots=True)
class Splicer:
    """Knows which ids are placeholders, which are mask tokens, and what pads."""

    placeholders: Mapping[int, Medium]
    pad_id: int
    mask_ids: frozenset[int] = frozenset()

    def __call__(self, rows: Sequence[Row], embed: Callable[[torch.Tensor], torch.Tensor]) -> Spliced:
        """Splices the rows; `embed` maps ids (n,) to (n, D).

        Raises ValueError if a row names a medium twice.
        """
        plans = [self._plan(row) for row in rows]
        length = max(plan.length for plan in plans)
        pad = embed(_ids([self.pad_id], embed))
        embeds = torch.stack([_left(plan.embeds(embed), length, pad) for plan in plans])
        labels = [[IGNORED] * (length - plan.length) + plan.labels for plan in plans]
        mask = [[0] * (length - plan.length) + [1] * plan.length for plan in plans]
        attention = torch.tensor(mask, device=embeds.device)
        label_ids = torch.tensor(labels, device=embeds.device)
        return Spliced(
            embeds=embeds,
            attention_mask=attention,
            position_ids=(attention.cumsum(1) - 1).clamp_min(0),
            labels=label_ids,
            mask_tokens=self._before_mask_tokens(label_ids),
            stretches=tuple(plan.stretches(length) for plan in plans),
        )

    def stretches(self, row: Row) -> tuple[Stretch, ...]:
        """Where everything of a row lies, nothing looked up. Raises ValueError if the row names a medium twice."""
        plan = self._plan(row)
        return plan.stretches(plan.length)

    def _plan(self, row: Row) -> _Plan:
        """Cuts the ids at the placeholders."""
        pieces: list[_Piece] = []
        start = 0
        for position, token in enumerate(row.ids):
            if token in self.placeholders:
                pieces.append(_text(row, start, position))
                pieces.append(_Piece(self.placeholders[token], features=row.features.get(self.placeholders[token])))
                start = position + 1
        pieces.append(_text(row, start, len(row.ids)))
        named = [piece.kind for piece in pieces if piece.kind != "text"]
        if len(named) != len(set(named)):
            raise ValueError(f"a row names each medium once, got {named}")
        return _Plan([piece for piece in pieces if len(piece)])

    def _before_mask_tokens(self, labels: torch.Tensor) -> torch.Tensor:
        """True where the next token is a mask token: its hidden state is the mask's embedding."""
        wanted = torch.zeros_like(labels, dtype=torch.bool)
        for token in self.mask_ids:
            wanted |= labels == token
        return torch.roll(wanted, -1, dims=1) & (
            torch.arange(labels.shape[1], device=labels.device) < labels.shape[1] - 1
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A run of text with its labels, or a medium's tokens."""

    kind: Medium
    ids: Sequence[int] = ()
    labels: Sequence[int] = ()
    features: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids) if self.features is None else self.features.shape[0] * self.features.shape[1]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The pieces of one row, none of them empty."""

    pieces: Sequence[_Piece]

    @property
    def length(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    @property
    def labels(self) -> list[int]:
        return [label for piece in self.pieces for label in (piece.labels or [IGNORED] * len(piece))]

    def embeds(self, embed: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """(length, D): one look-up for all text, cut where the media go."""
        texts = [piece for piece in self.pieces if piece.features is None]
        looked_up = embed(_ids([token for piece in texts for token in piece.ids], embed))
        runs = iter(looked_up.split([len(piece) for piece in texts]))
        parts = [
            next(runs) if p.features is None else p.features.flatten(0, 1).to(looked_up.dtype) for p in self.pieces
        ]
        return torch.cat(parts)

    def stretches(self, length: int) -> tuple[Stretch, ...]:
        """Where each frame, each second and each run of text lies in a row padded to that length."""
        found: list[Stretch] = []
        at = length - self.length
        for piece in self.pieces:
            if piece.features is None:
                found.append(Stretch("text", at, at + len(piece)))
            else:
                queries = piece.features.shape[1]
                found += [
                    Stretch(piece.kind, at + index * queries, at + (index + 1) * queries, index)
                    for index in range(piece.features.shape[0])
                ]
            at += len(piece)
        return tuple(found)


def _text(row: Row, start: int, end: int) -> _Piece:
    """The text between two places, labelled where it belongs to the target."""
    labels = [row.ids[i] if i >= row.prompt_tokens else IGNORED for i in range(start, end)]
    return _Piece("text", ids=row.ids[start:end], labels=labels)


def _ids(ids: Sequence[int], embed: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """The ids as a tensor on the device of the embedding, if it has one."""
    weight = getattr(embed, "weight", None)
    return torch.tensor(ids, dtype=torch.long, device=None if weight is None else weight.device)


def _left(embeds: torch.Tensor, length: int, pad: torch.Tensor) -> torch.Tensor:
    """(n, D) padded on the left to (length, D)."""
    return torch.cat([pad.expand(length - len(embeds), -1), embeds])
