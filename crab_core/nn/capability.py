"""What a network learnt apart for one kind of mask: its own token table, output layer and mask decoder.

The published release trains masks (`avs`) and semantic masks (`avss`) after everything else, each with its own copy of
these three; the rest of the network is shared with answering in text.
Source: Crab (arXiv 2503.13068, section 4.1). Letters: B rows, L positions, T mask tokens, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from crab_core.nn.mask_decoder import LEVELS, Kind, MaskDecoder, MaskDecoderConfig

CAPABILITIES: Mapping[str, Kind] = {"avs": "binary", "avss": "semantic"}


@dataclass(frozen=True, slots=True)
class MaskConfig:
    """Which capabilities there are, the numbers of their decoder and what the release leaves open.

    `layers` are the two hidden states of CLIP that the decoder reads (the published code says 14 and 22, the run's
    description 14 and 23); `positions` tells which values of the positions' random directions the weights hold.
    """

    decoder: MaskDecoderConfig
    layers: tuple[int, ...] = (14, 22)
    capabilities: tuple[str, ...] = ("avs",)
    positions: str = "train"

    def __post_init__(self) -> None:
        if isinstance(self.decoder, Mapping):  # as it stands in a header
            unknown = sorted(set(self.decoder) - set(MaskDecoderConfig.__dataclass_fields__))
            if unknown:
                raise ValueError(f"'mask.decoder' has unknown keys {unknown}")
            object.__setattr__(self, "decoder", MaskDecoderConfig(**self.decoder))
        if len(self.layers) != LEVELS:
            raise ValueError(f"mask layers must be {LEVELS}, got {list(self.layers)}")
        unknown = [name for name in self.capabilities if name not in CAPABILITIES]
        if unknown or not self.capabilities:
            raise ValueError(f"mask capabilities must be of {', '.join(CAPABILITIES)}, got {list(self.capabilities)}")


class Capability(nn.Module):
    """The three parts; `kind` is that of its masks."""

    def __init__(self, name: str, vocabulary: int, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.kind: Kind = CAPABILITIES[name]
        self.tokens = nn.Embedding(vocabulary, config.state_width)
        self.head = nn.Linear(config.state_width, vocabulary, bias=False)
        self.mask_decoder = MaskDecoder(config)

    def take_tables(self, llm: nn.Module) -> None:
        """Makes both tables copies of the LLM's, where nothing was learnt apart for them."""
        with torch.no_grad():
            self.tokens.weight.copy_(llm.get_input_embeddings().weight)
            self.head.weight.copy_(llm.get_output_embeddings().weight)

    @contextmanager
    def inside(self, llm: nn.Module) -> Iterator[None]:
        """Within the block the LLM reads and writes tokens by this capability's tables."""
        before = llm.get_input_embeddings(), llm.get_output_embeddings()
        llm.set_input_embeddings(self.tokens)
        llm.set_output_embeddings(self.head)
        try:
            yield
        finally:
            llm.set_input_embeddings(before[0])
            llm.set_output_embeddings(before[1])

    def draw(
        self, states: torch.Tensor, features: Sequence[torch.Tensor], pictures: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The logits (B, K, H, W) of mask tokens' states (B, T, W) and one feature map (R, P, D) a level.

        `pictures` (B,) says which of the R each mask is of; None is one picture for each.
        """
        return self.mask_decoder(states, features, self.kind, pictures)


def mask_states(hidden: torch.Tensor, predicts: torch.Tensor, tokens: int) -> torch.Tensor:
    """The states (n, T, W) of the n rows that predict mask tokens, from hidden states (B, L, W) and a mask (B, L).

    A row with more than T such positions gives its last T, one with fewer none: it told no mask.
    """
    rows = [row[wanted][-tokens:] for row, wanted in zip(hidden, predicts, strict=True)]
    told = [row for row in rows if len(row) == tokens]
    return torch.stack(told) if told else hidden.new_zeros((0, tokens, hidden.shape[-1]))
