"""BEATs: a transformer over patches of a filter bank, one token a patch of 16 frames x 16 bands.

    (S, L, 128) -> patches (S, n, patch_width) -> (S, n, width), n = (L // 16) * 8

Source: BEATs (arXiv 2212.09058); the positions are WavLM's gated relative ones (arXiv 2110.13900, section 3.1), the
residuals DeepNet's (arXiv 2203.00555). No library has it. Parity: tests/parity/test_parity_beats.py.
Differs: no predictor, no dropout (the encoder stays frozen), the table of relative positions stands beside the layers.
Letters: S segments, L spectrogram frames, n tokens, H heads, D width.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

GATES = 8  # the gate's eight outputs are summed in two groups of four


class Beats(nn.Module):
    """The encoder of the published iter3+ checkpoint; the defaults are its numbers."""

    def __init__(
        self,
        patch: int = 16,
        patch_width: int = 512,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        ffn: int = 3072,
        position_kernel: int = 128,
        position_groups: int = 16,
        buckets: int = 320,
        max_distance: int = 800,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, patch_width, patch, stride=patch, bias=False)
        self.patch_norm = nn.LayerNorm(patch_width)
        self.patch_project = nn.Linear(patch_width, width)
        self.position = PositionConv(width, position_kernel, position_groups)
        self.norm = nn.LayerNorm(width)
        self.relative = RelativeBias(buckets, max_distance, heads)
        residual = (2 * layers) ** 0.25
        self.layers = nn.ModuleList([BeatsLayer(width, heads, ffn, residual) for _ in range(layers)])

    def forward(self, banks: torch.Tensor) -> torch.Tensor:
        """(S, L, 128) -> (S, n, D); L below one patch raises RuntimeError."""
        x = self.patches(banks[:, None]).flatten(2).transpose(1, 2)  # (S, n, patch_width): time first, then bands
        x = self.patch_project(self.patch_norm(x))
        x = self.norm(x + F.gelu(self.position(x)))
        bias = self.relative(x.shape[1])  # (H, n, n)
        for layer in self.layers:
            x = layer(x, bias)
        return x


class PositionConv(nn.Module):
    """A wide grouped convolution over time whose weight is kept as magnitude a tap and direction."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        direction = torch.randn(width, width // groups, kernel) * math.sqrt(4 / (kernel * width))
        self.direction = nn.Parameter(direction)
        self.magnitude = nn.Parameter(direction.norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(width))
        self.groups = groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(S, n, D) -> (S, n, D)."""
        weight = self.direction * (self.magnitude / self.direction.norm(dim=(0, 1), keepdim=True))
        padding = weight.shape[-1] // 2
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=padding, groups=self.groups)
        return y[..., : x.shape[1]].transpose(1, 2)


class RelativeBias(nn.Module):
    """One learned number a head and bucket of distance: near ones exact, far ones on a logarithmic scale."""

    def __init__(self, buckets: int, max_distance: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(buckets, heads)
        self.max_distance = max_distance

    def forward(self, tokens: int) -> torch.Tensor:
        """The bias (H, n, n) of every query (rows) on every key (columns)."""
        places = torch.arange(tokens, device=self.table.weight.device)
        return self.table(self._bucket(places[None, :] - places[:, None])).permute(2, 0, 1)

    def _bucket(self, distance: torch.Tensor) -> torch.Tensor:
        """Half of the buckets look ahead; of each half, the nearer half are exact distances."""
        half = self.table.num_embeddings // 2
        exact = half // 2
        away = distance.abs()
        scale = (half - exact) / math.log(self.max_distance / exact)
        far = exact + ((away.clamp_min(1).float() / exact).log() * scale).long()
        return torch.where(away < exact, away, far.clamp_max(half - 1)) + half * (distance > 0)


class BeatsLayer(nn.Module):
    """Self-attention with gated positions, then an MLP; norms come after scaled residuals."""

    def __init__(self, width: int, heads: int, ffn: int, residual: float) -> None:
        super().__init__()
        self.attention = GatedAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Linear(ffn, width))
        self.mlp_norm = nn.LayerNorm(width)
        self.residual = residual

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(S, n, D) and the bias (H, n, n) -> (S, n, D)."""
        x = self.attention_norm(x * self.residual + self.attention(x, bias))
        return self.mlp_norm(x * self.residual + self.mlp(x))


class GatedAttention(nn.Module):
    """Self-attention in which each query decides how much the distance matters."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Linear(width // heads, GATES)
        self.gate_scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(S, n, D) and the bias (H, n, n) -> (S, n, D)."""
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))  # (S, H, n, D/H)
        opens, scales = torch.sigmoid(self.gate(query).unflatten(-1, (2, -1)).sum(-1)).chunk(2, -1)  # (S, H, n, 1)
        gated = (opens * (scales * self.gate_scale - 1) + 2) * bias  # (S, H, n, n)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=gated)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
