"""Writing with a Crab+ network: the prompt is read once, then a token at a time from the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import DynamicCache

    from crab_core.nn.plus import PlusModel
    from crab_core.types import Decoding


@torch.inference_mode()
def write(
    model: PlusModel,
    embeds: torch.Tensor,
    attention_mask: torch.Tensor,
    position_ids: torch.Tensor,
    decoding: Decoding,
    end_ids: frozenset[int],
    on_ids: Callable[[list[int]], None] | None = None,
    cache: DynamicCache | None = None,
) -> list[list[int]]:
    """The new ids of each row (B, L) padded on the left; rows that ended go on until all have, or at the length asked.

    `on_ids` hears the new id of every row. `cache`, if given, holds the beginning of the rows. Sampling draws from
    the seed, whatever was drawn before.
    """
    from transformers import DynamicCache

    read = 0 if cache is None else cache.get_seq_length()
    cache = DynamicCache(config=model.text.config) if cache is None else cache
    draws = torch.Generator(device=embeds.device).manual_seed(decoding.seed)
    rows: list[list[int]] = [[] for _ in range(len(embeds))]
    ended = [False] * len(rows)
    after = position_ids.amax((0, 2)) + 1  # (B,)
    embeds, position_ids = embeds[:, read:], position_ids[..., read:]
    for step in range(decoding.max_new_tokens):
        states = model.read(embeds, attention_mask, position_ids, cache)
        chosen = _chosen(model.logits(states[:, -1]).float(), decoding, draws)  # (B,)
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
        position_ids = (after + step)[None, :, None].expand(3, -1, 1)
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
