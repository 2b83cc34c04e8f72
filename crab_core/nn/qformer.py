"""The projector: a Q-Former whose few learned queries read many encoder tokens, then an MLP to the LLM's width.

    (N, P, encoder_width) -> LayerNorm -> Q-Former -> Linear, GELU, Linear -> (N, Q, out_width)

Source: Crab (arXiv 2503.13068, section 3.2); the idea is BLIP-2's (arXiv 2301.12597). Differs from BLIP-2:
cross-attention in every layer, no text branch. The layers are transformers' `Blip2QFormerModel`.
Parity: tests/parity/test_parity_projectors.py.
Letters: N pictures or sound segments, P encoder tokens, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from crab_core.nn.limits import DEEPEST, WIDEST, check_limits

ENCODER_NORM_EPS = 1e-5  # the LayerNorm over encoder features, kept for parity with the published weights
QFORMER_NORM_EPS = 1e-12  # BERT's, kept for parity with the published weights
QUERY_STD = 0.02
LIMITS = {
    "queries": WIDEST,
    "layers": DEEPEST,
    "hidden": WIDEST,
    "heads": 1024,
    "ffn": 1 << 20,
    "encoder_width": WIDEST,
    "out_width": WIDEST,
}


@dataclass(frozen=True, slots=True)
class QFormerConfig:
    """Numbers of one projector; the defaults are those of Crab-7B's visual one."""

    queries: int = 32
    layers: int = 2
    hidden: int = 768
    heads: int = 12
    ffn: int = 3072
    encoder_width: int = 1024
    out_width: int = 4096
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.queries, self.layers, self.hidden, self.heads, self.ffn, self.encoder_width, self.out_width) < 1:
            raise ValueError(f"every number of a projector must be at least 1, got {self}")
        check_limits("projector", {name: getattr(self, name) for name in LIMITS}, LIMITS)
        if self.hidden % self.heads:
            raise ValueError(f"hidden must be a multiple of heads, got {self.hidden} and {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class Projector(nn.Module):
    """Encoder tokens of one medium as a fixed number of tokens of the LLM."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.encoder_width, eps=ENCODER_NORM_EPS)
        self.queries = nn.Parameter(torch.randn(config.queries, config.hidden) * QUERY_STD)
        self.qformer = _qformer(config)
        self.mlp = nn.Sequential(
            nn.Linear(config.hidden, config.out_width), nn.GELU(), nn.Linear(config.out_width, config.out_width)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, P, encoder_width) -> (N, Q, out_width)."""
        queries = self.queries.expand(len(features), -1, -1)  # (N, Q, hidden)
        seen = self.qformer(query_embeds=queries, encoder_hidden_states=self.norm(features))
        return self.mlp(seen.last_hidden_state)

    def cross_attentions(self) -> list[nn.Module]:
        """The cross-attention modules, first layer first; each gives (context, weights (N, heads, Q, P))."""
        return [layer.crossattention.attention for layer in self.qformer.encoder.layer]


@contextmanager
def watch_cross_attention(projector: Projector) -> Iterator[list[torch.Tensor]]:
    """Collects where the queries look: within the block each forward appends one (N, heads, Q, P) map a layer."""
    maps: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        maps.append(output[1].detach())

    hooks = [module.register_forward_hook(keep) for module in projector.cross_attentions()]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()


def _qformer(config: QFormerConfig) -> nn.Module:
    """The layers; attention is computed eagerly because the fused kernels do not give their weights to hooks."""
    from transformers import Blip2QFormerConfig, Blip2QFormerModel

    settings = Blip2QFormerConfig(
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.ffn,
        encoder_hidden_size=config.encoder_width,
        cross_attention_frequency=1,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        layer_norm_eps=QFORMER_NORM_EPS,
        hidden_act="gelu",
        use_qformer_text_input=False,
        attn_implementation="eager",
    )
    return Blip2QFormerModel(settings)
