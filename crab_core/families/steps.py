"""The step that writes one token: with a cache that grows, or with tensors of fixed shapes and places.

Fixed, a step is the same program again and again: on a GPU it is recorded once as a CUDA graph and replayed with one
launch, on a CPU torch.compile makes one kernel of what lies between two products. It does nothing that waits for a GPU;
what changes from step to step (the token, its place, who may look where) is written into its tensors before.
Letters: K kinds of position, B rows, L places of the fixed cache, W width of the decoder, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import nn

from crab_core.errors import ResourceError

if TYPE_CHECKING:
    from transformers import Cache, DynamicCache, StaticCache

    from crab_core.families._base import Precision
    from crab_core.families.crab_prefix import Layers

Advance = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]  # ids (B,) to states (B, W) and logits (B, V)
How = Literal["plain", "compiled", "graph"]
PLACES = 256  # lengths of the fixed cache are multiples of it, so that few programs are made
WARM_UPS = 3  # steps on a stream of its own before a CUDA graph is recorded


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

    @property
    def after(self) -> torch.Tensor:
        """(B,): where the first new token stands."""
        return self.stands.amax((0, 2)) + 1


def growing(model: Decoder, begun: Begun) -> Advance:
    """Steps on the prompts' own cache, once all of them is read."""
    mask, stands = begun.attention_mask, begun.after[None, :, None].expand(len(begun.stands), -1, 1)

    def advance(ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal mask, stands
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
        last = model.read(model.embed(ids[:, None]), mask, stands, begun.cache)[:, -1]
        stands = stands + 1
        return last, model.logits(last)

    return advance


class FixedSteps:
    """Makes fixed steps of one model, and keeps the last one for the next prompts that it fits."""

    def __init__(self, how: How) -> None:
        self.how = how
        self.made = 0  # how many programs were made
        self._kept: _Fixed | None = None

    def after(self, model: Decoder, begun: Begun, new_tokens: int, layers: Layers | None) -> Advance:
        """Steps after prompts that are read, for at most so many tokens; `layers` are the adapters that take part.

        While somebody watches the layers (None) steps grow the cache.
        """
        if layers is None:
            return growing(model, begun)
        needed = begun.attention_mask.shape[1] + new_tokens
        kept = self._kept
        if kept is None or not kept.fits(len(begun.stands[0]), needed, layers):
            self._kept = None  # its memory is free before more is taken
            self._kept = kept = _Fixed(model, self.how, begun, -(-needed // PLACES) * PLACES, layers)
            self.made += 1
        kept.take(begun)
        return kept.advance


def steps_for(precision: Precision) -> FixedSteps | None:
    """Fixed steps if the precision asks for them: a CUDA graph on a GPU, torch.compile on a CPU."""
    if not precision.compile:
        return None
    return FixedSteps("graph" if precision.device.startswith("cuda") else "compiled")


class _Fixed:
    """One step on fixed tensors: ids (B,), who may be looked at (B, 1, 1, L), positions (K, B, 1) and a cache."""

    def __init__(self, model: Decoder, how: How, begun: Begun, length: int, layers: Layers) -> None:
        from transformers import StaticCache

        rows, device = len(begun.stands[0]), begun.embeds.device
        self._model, self._layers, self._length = model, layers, length
        self._ids = torch.zeros(rows, dtype=torch.long, device=device)
        self._seen = torch.zeros(rows, 1, 1, length, dtype=torch.bool, device=device)
        self._stands = torch.zeros(len(begun.stands), rows, 1, dtype=begun.stands.dtype, device=device)
        self._cache: StaticCache = StaticCache(config=model.text.config, max_cache_len=length)
        self._at = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._out: tuple[torch.Tensor, torch.Tensor] | None = None
        self._how = how
        self._step = self._once
        if how == "compiled":
            mode = "reduce-overhead" if device.type == "cuda" else "default"
            self._step = torch.compile(self._once, dynamic=False, mode=mode)

    def fits(self, rows: int, needed: int, layers: Layers) -> bool:
        """True if the step serves other prompts of that size."""
        return rows == len(self._ids) and needed <= self._length and layers == self._layers

    def take(self, begun: Begun) -> None:
        """Copies what the prompts' cache holds; the next token stands behind it."""
        self._fill(begun)
        self._at = begun.attention_mask.shape[1]
        self._seen.zero_()
        self._seen[:, 0, 0, : self._at] = begun.attention_mask.bool()
        self._stands.copy_(begun.after[None, :, None])
        if self._how == "graph" and self._graph is None:
            with _told():
                self._record(begun)

    def advance(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The states (B, W) and logits (B, V) after one more token; they hold until the next call."""
        self._ids.copy_(ids)
        self._seen[..., self._at] = True
        if self._graph is not None and self._out is not None:
            self._graph.replay()
            last, logits = self._out
        else:
            with _told():
                last, logits = self._step()
        self._at += 1
        self._stands.add_(1)
        return last, logits

    def _once(self) -> tuple[torch.Tensor, torch.Tensor]:
        last = self._model.read(self._model.embed(self._ids[:, None]), self._seen, self._stands, self._cache)[:, -1]
        return last, self._model.logits(last)

    def _record(self, begun: Begun) -> None:
        """Records the step; what warming up and recording left in the cache is taken back."""
        self._seen[..., self._at] = True
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._fill(begun)
                self._once()
        torch.cuda.current_stream().wait_stream(side)
        self._fill(begun)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._out = self._once()
        self._graph = graph
        self.take(begun)

    def _fill(self, begun: Begun) -> None:
        """Makes the cache what the prompts left."""
        self._cache.reset()
        for layer, held in enumerate(begun.cache.layers):
            self._cache.update(held.keys, held.values, layer)


@contextmanager
def _told() -> Iterator[None]:
    """Says of what cannot be compiled or recorded how to do without."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as err:  # what torch.compile and CUDA graphs raise is of this kind
        raise ResourceError(
            f"the step that writes a token cannot be compiled here: {(str(err).splitlines() or [''])[0]}",
            hint="Leave --compile out.",
        ) from err
