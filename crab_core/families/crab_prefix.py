"""What several questions about a clip have in common is computed once: the prompt up to the end of its media.

Keys and values of those positions depend on their embeddings and on the heads that take part; both are compared, so
that another clip, another wording before the media or other heads are never mistaken for the same. The beginning is
computed apart from the rest whether it is kept or not: an answer is the same to the last bit with and without a memory.
Of several prompts that are written together each different beginning is computed once.
Letters: K kinds of position, B rows, P positions of the beginning, L of the prompt, n of some, W width of the decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from crab_core.families.steps import Begun, Decoder
from crab_core.nn.splice import Spliced

if TYPE_CHECKING:
    from transformers import DynamicCache

    from crab_core.nn.ilora import RouteChange

    Layers = tuple[tuple[bool, tuple[str, ...], tuple[tuple[str, RouteChange], ...]], ...]
    Way = tuple[Layers, tuple[int, ...]]


class Memory:
    """The beginning of the last prompt: its embeddings (1, P, W), and its keys and values; empty at first.

    `reused` tells how many positions of the last prompt were not computed again.
    """

    def __init__(self) -> None:
        self.reused = 0
        self._embeds: torch.Tensor | None = None
        self._cache: DynamicCache | None = None
        self._way: Way | None = None

    def forget(self) -> None:
        """Let the memory go."""
        self.reused, self._embeds, self._cache, self._way = 0, None, None, None

    def recall(self, embeds: torch.Tensor, way: Way | None) -> DynamicCache | None:
        """The cache that holds exactly these positions (1, P, W), if they are remembered; else forgets."""
        known = self._embeds
        is_known = known is not None and known.shape == embeds.shape and known.dtype == embeds.dtype
        if known is None or not is_known or way is None or way != self._way or not known.equal(embeds):
            self.forget()
            return None
        self.reused = embeds.shape[1]
        return self._cache

    def keep(self, embeds: torch.Tensor, cache: DynamicCache, way: Way | None) -> None:
        """Remember these positions (1, P, W); what the cache holds beyond them is cut off."""
        beyond = cache.get_seq_length() - embeds.shape[1]
        if beyond > 0:
            cache.crop(-beyond)
        self._embeds, self._cache, self._way = embeds, cache, way


@dataclass(frozen=True)
class Prompts:
    """Rows of embeddings padded on the left, and where they stand: (K, B, L)."""

    spliced: Spliced
    stands: torch.Tensor

    def beginning(self, row: int) -> slice:
        """The positions of a row up to the end of its media; empty if it has none, or if no text follows."""
        stretches, length = self.spliced.stretches[row], self.spliced.embeds.shape[1]
        start = stretches[0].start
        end = max((stretch.end for stretch in stretches if stretch.kind != "text"), default=start)
        return slice(start, end if end < length else start)


@contextmanager
def begin(model: Decoder, prompts: Prompts, memory: Memory | None = None) -> Iterator[Begun]:
    """The prompts, ready to be written after: a cache holds what they have in common, or all that the memory may hold.

    A prompt alone is always read in two parts, and afterwards the memory has the first. Of several, each beginning is
    read once if some have the same. After an error nothing is remembered, since the cache may hold half a step.
    """
    memory = memory if memory is not None else Memory()
    if len(prompts.spliced.embeds) > 1:
        memory.forget()
        yield _begun_together(model, prompts)
        return
    begins = prompts.beginning(0)
    if begins.start == begins.stop:
        memory.forget()
        yield whole(model, prompts)
        return
    embeds, stands = prompts.spliced.embeds[:, begins], prompts.stands[..., begins]
    way = _way(model.text, tuple(stands.flatten().tolist()))
    cache = memory.recall(embeds, way)
    try:
        if cache is None:
            cache = _empty(model)
            model.read(embeds, prompts.spliced.attention_mask[:, begins], stands, cache)
        rest = slice(begins.stop, None)
        yield Begun(
            cache,
            prompts.spliced.embeds[:, rest],
            prompts.spliced.attention_mask,
            prompts.stands[..., rest],
            memory.reused,
        )
    except BaseException:
        memory.forget()
        raise
    memory.keep(embeds, cache, way)


def _begun_together(model: Decoder, prompts: Prompts) -> Begun:
    """Several prompts after their beginnings, each different one read once; untouched if all of them differ.

    Beginnings are padded on the left, and so is what follows each: padding lies before both.
    """
    embeds, rows = prompts.spliced.embeds, range(len(prompts.spliced.embeds))
    begins = [prompts.beginning(row) for row in rows]
    if any(one.start == one.stop for one in begins) or layers_of(model.text) is None:
        return whole(model, prompts)
    first_of = _same(prompts, begins)
    firsts = sorted(set(first_of))
    if len(firsts) == len(rows):
        return whole(model, prompts)
    cache = _empty(model)
    begun, mask, stands = _padded(prompts, firsts, [begins[row] for row in firsts])
    model.read(begun, mask, stands, cache)
    chosen = torch.tensor([firsts.index(row) for row in first_of], device=embeds.device)
    cache.batch_select_indices(chosen)
    rest, rest_mask, rest_stands = _padded(prompts, rows, [slice(one.stop, embeds.shape[1]) for one in begins])
    reused = sum(one.stop - one.start for row, one in enumerate(begins) if row not in firsts)
    return Begun(cache, rest, torch.cat([mask[chosen], rest_mask], dim=1), rest_stands, reused)


def _same(prompts: Prompts, begins: Sequence[slice]) -> list[int]:
    """For each row the first that has the same beginning."""
    found: list[int] = []
    for row, one in enumerate(begins):
        for other in dict.fromkeys(found):
            theirs = begins[other]
            if (
                one.stop - one.start == theirs.stop - theirs.start
                and prompts.stands[:, row, one].equal(prompts.stands[:, other, theirs])
                and prompts.spliced.embeds[row, one].equal(prompts.spliced.embeds[other, theirs])
            ):
                found.append(other)
                break
        else:
            found.append(row)
    return found


def _padded(
    prompts: Prompts, rows: Sequence[int], places: Sequence[slice]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A stretch of each row: embeddings (B, n, W), mask (B, n) and positions (K, B, n), padded on the left."""
    spliced, longest = prompts.spliced, max(one.stop - one.start for one in places)
    embeds = spliced.embeds.new_zeros(len(rows), longest, spliced.embeds.shape[2])
    mask = spliced.attention_mask.new_zeros(len(rows), longest)
    stands = prompts.stands.new_zeros(len(prompts.stands), len(rows), longest)
    for index, (row, one) in enumerate(zip(rows, places, strict=True)):
        start = longest - (one.stop - one.start)
        embeds[index, start:] = spliced.embeds[row, one]
        mask[index, start:] = 1
        stands[:, index, start:] = prompts.stands[:, row, one]
    return embeds, mask, stands


def whole(model: Decoder, prompts: Prompts) -> Begun:
    """Prompts of which nothing is read yet."""
    return Begun(_empty(model), prompts.spliced.embeds, prompts.spliced.attention_mask, prompts.stands)


def _empty(model: Decoder) -> DynamicCache:
    from transformers import DynamicCache

    return DynamicCache(config=model.text.config)


def layers_of(decoder: nn.Module) -> Layers | None:
    """Which adapters and heads of each layer take part; None while somebody watches the routers."""
    from crab_core.nn.ilora import ILoraLayer

    layers = [module for module in decoder.modules() if isinstance(module, ILoraLayer)]
    if any(router._forward_hooks for layer in layers for router in layer.ilora_router.values()):
        return None
    return tuple(
        (layer.disable_adapters, tuple(layer.active_adapters), tuple(layer.head_masks.items())) for layer in layers
    )


def _way(decoder: nn.Module, stands: tuple[int, ...]) -> Way | None:
    """The layers that take part, and where tokens stand; None while somebody watches the routers, who sees all then."""
    layers = layers_of(decoder)
    return None if layers is None else (layers, stands)
