"""What several questions about a clip have in common is computed once: the prompt up to the end of its media.

Keys and values of those positions depend on their embeddings and on the heads that take part; both are compared, so
that another clip, another wording before the media or other heads are never mistaken for the same. The beginning is
computed apart from the rest whether it is kept or not: an answer is the same to the last bit with and without a memory.
Letters: P positions of the beginning, L of the prompt, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from crab_core.nn.splice import Spliced

if TYPE_CHECKING:
    from transformers import DynamicCache, LlamaForCausalLM

    from crab_core.nn.ilora import RouteChange

    Layers = tuple[tuple[bool, tuple[str, ...], tuple[tuple[str, RouteChange], ...]], ...]
    Way = tuple[Layers, tuple[int, ...]]
    Read = Callable[[torch.Tensor, DynamicCache], object]


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


@contextmanager
def begun(llm: LlamaForCausalLM, spliced: Spliced, memory: Memory | None) -> Iterator[DynamicCache | None]:
    """A cache that holds the beginning of one row's prompt, for `generate` to go on from; None if it has no media."""

    def read(embeds: torch.Tensor, cache: DynamicCache) -> None:
        llm.model(inputs_embeds=embeds, past_key_values=cache, use_cache=True)

    with begun_by(llm, spliced, memory, read) as cache:
        yield cache


@contextmanager
def begun_by(
    decoder: nn.Module, spliced: Spliced, memory: Memory | None, read: Read, stands: torch.Tensor | None = None
) -> Iterator[DynamicCache | None]:
    """The same for any decoder, which `read` lets read the beginning (1, P, W) into a cache.

    `stands` (..., L) are the positions of the prompt, if they are more than its order. After an error nothing is
    remembered, since the cache may hold half a step.
    """
    from transformers import DynamicCache

    memory = memory if memory is not None else Memory()
    end = media_end(spliced)
    if end == 0:
        memory.forget()
        yield None
        return
    embeds = spliced.embeds[:, :end]
    way = _way(decoder, () if stands is None else tuple(stands[..., :end].flatten().tolist()))
    cache = memory.recall(embeds, way)
    try:
        if cache is None:
            cache = DynamicCache(config=decoder.config)
            read(embeds, cache)
        yield cache
    except BaseException:
        memory.forget()
        raise
    memory.keep(embeds, cache, way)


def media_end(spliced: Spliced) -> int:
    """Where the media of one row that is not padded end; 0 if it has none, or if no text follows."""
    stretches = spliced.stretches[0]
    end = max((stretch.end for stretch in stretches if stretch.kind != "text"), default=0)
    return end if end < spliced.embeds.shape[1] else 0


def _way(decoder: nn.Module, stands: tuple[int, ...]) -> Way | None:
    """Which adapters and heads of each layer take part, and where tokens stand; None while somebody watches the
    routers, who sees all then."""
    from crab_core.nn.ilora import ILoraLayer

    layers = [module for module in decoder.modules() if isinstance(module, ILoraLayer)]
    if any(router._forward_hooks for layer in layers for router in layer.ilora_router.values()):
        return None
    return tuple(
        (layer.disable_adapters, tuple(layer.active_adapters), tuple(layer.head_masks.items())) for layer in layers
    ), stands
