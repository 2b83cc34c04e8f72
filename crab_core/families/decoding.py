"""Writing token by token: what is not read yet of the prompts is read at once, then a token a step from the cache.

Letters: K kinds of position (1, or 3 where time, height and width differ), B rows, L positions, P of them in the cache,
n not yet, W width of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import Cache, DynamicCache

    from crab_core.types import Decoding


class Decoder(Protocol):
    """A network whose decoder writes."""

    @property
    def text(self) -> nn.Module:
        """transformers' decoder without its output layer."""

    @property
    def embed(self) -> nn.Module:
        """Ids to embeddings."""

    def read(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """The states (B, n, W) after the last norm, of embeddings (B, n, W) at positions (K, B, n)."""

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(..., V) of states (..., W)."""


@dataclass(frozen=True)
class Begun:
    """Prompts of which a cache holds the first positions.

    `embeds` (B, n, W) and `stands` (K, B, n) are what is to be read; `attention_mask` (B, P + n) has 0 on padding,
    which may lie between the two. `reused` positions were computed for others.
    """

    cache: DynamicCache
    embeds: torch.Tensor
    attention_mask: torch.Tensor
    stands: torch.Tensor
    reused: int = 0


@torch.inference_mode()
def write(
    model: Decoder,
    begun: Begun,
    decoding: Decoding,
    end_ids: frozenset[int],
    on_ids: Callable[[list[int]], None] | None = None,
    kept: list[torch.Tensor] | None = None,
) -> list[list[int]]:
    """The new ids of each row; rows that ended go on until all have, or at the length asked.

    `on_ids` hears the new id of every row, `kept` gets the states (B, W) that predicted them. Sampling draws from the
    seed, whatever was drawn before.
    """
    embeds, attention_mask, stands = begun.embeds, begun.attention_mask, begun.stands
    draws = torch.Generator(device=embeds.device).manual_seed(decoding.seed)
    rows: list[list[int]] = [[] for _ in range(len(embeds))]
    ended = [False] * len(rows)
    after = stands.amax((0, 2)) + 1  # (B,)
    for step in range(decoding.max_new_tokens):
        last = model.read(embeds, attention_mask, stands, begun.cache)[:, -1]
        if kept is not None:
            kept.append(last)
        chosen = _chosen(model.logits(last).float(), decoding, draws)  # (B,)
        told = chosen.tolist()
        for index, token in enumerate(told):
            rows[index].append(token)
            ended[index] |= token in end_ids
        if on_ids is not None:
            on_ids(told)
        if all(ended):
            break
        embeds = model.embed(chosen[:, None])
        attention_mask = torch.nn.functional.pad(attention_mask, (0, 1), value=1)
        stands = (after + step)[None, :, None].expand(len(stands), -1, 1)
    return rows


def _chosen(logits: torch.Tensor, decoding: Decoding, draws: torch.Generator) -> torch.Tensor:
    """An id a row of logits (B, V): the likeliest, or one drawn from the likeliest that make up `top_p`."""
    if decoding.temperature <= 0:
        return logits.argmax(-1)
    chances = (logits / decoding.temperature).softmax(-1)
    ordered, ids = chances.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= decoding.top_p] = 0  # the first is always kept
    place = torch.multinomial(ordered, 1, generator=draws)
    return ids.gather(-1, place)[:, 0]
