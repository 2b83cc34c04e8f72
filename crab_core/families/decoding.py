"""Writing token by token: what is not read yet of the prompts is read at once, then a token a step from the cache.

Letters: K kinds of position (1, or 3 where time, height and width differ), B rows, L positions, P of them in the cache,
n not yet, W width of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from crab_core.families.steps import Advance, Begun, Decoder, growing

if TYPE_CHECKING:
    from crab_core.types import Decoding


@torch.inference_mode()
def write(
    model: Decoder,
    begun: Begun,
    decoding: Decoding,
    end_ids: frozenset[int],
    on_ids: Callable[[list[int]], None] | None = None,
    kept: list[torch.Tensor] | None = None,
    steps: Callable[[Begun], Advance] | None = None,
) -> list[list[int]]:
    """The new ids of each row; rows that ended go on until all have, or at the length asked.

    `on_ids` hears the new id of every row, `kept` gets the states (B, W) that predicted them. `steps` makes the steps
    after prompts that are read; without it the prompts' cache grows. Sampling draws from the seed, whatever was drawn
    before.
    """
    draws = torch.Generator(device=begun.embeds.device).manual_seed(decoding.seed)
    rows: list[list[int]] = [[] for _ in range(len(begun.embeds))]
    ended = [False] * len(rows)
    last = model.read(begun.embeds, begun.attention_mask, begun.stands, begun.cache)[:, -1]
    logits, advance = model.logits(last), None
    while True:
        if kept is not None:
            kept.append(last.clone())
        chosen = _chosen(logits.float(), decoding, draws)  # (B,)
        told = chosen.tolist()
        for index, token in enumerate(told):
            rows[index].append(token)
            ended[index] |= token in end_ids
        if on_ids is not None:
            on_ids(told)
        if all(ended) or len(rows[0]) == decoding.max_new_tokens:
            return rows
        advance = advance or (growing(model, begun) if steps is None else steps(begun))
        last, logits = advance(chosen)


def _chosen(logits: torch.Tensor, decoding: Decoding, draws: torch.Generator) -> torch.Tensor:
    """An id a row of logits (B, V): the likeliest, or one drawn from the likeliest that make up `top_p`."""
    if decoding.temperature <= 0:
        return logits.argmax(-1)
    chances = (logits / decoding.temperature).softmax(-1)
    ordered, ids = chances.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= decoding.top_p] = 0  # the first is always kept
    place = torch.multinomial(ordered, 1, generator=draws)
    return ids.gather(-1, place)[:, 0]
