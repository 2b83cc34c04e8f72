"""Tokens and a picture attend to each other: the transformer of promptable segmentation, and its attention.

    tokens (B, Q, C), picture (B, P, C), positions of both -> tokens (B, Q, C), picture (B, P, C)

Source: Segment Anything (arXiv 2304.02643, appendix A, "Lightweight mask decoder").
Parity: tests/parity/test_parity_mask_decoder.py.
Letters: B pictures, Q tokens, P places of a picture, C width, H heads.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

SHRINK = 2  # attention between tokens and picture is computed in half the width


class Attention(nn.Module):
    """Attention whose inner width may be smaller than the width of what goes in and out."""

    def __init__(self, width: int, heads: int, shrink: int = 1) -> None:
        super().__init__()
        inner = width // shrink
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Queries (B, Q, C), keys and values (B, P, C) -> (B, Q, C)."""
        split = (self._split(part(x)) for part, x in ((self.query, query), (self.key, key), (self.value, value)))
        return self.out(F.scaled_dot_product_attention(*split).transpose(1, 2).flatten(2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, n, C/H)


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens on the picture, an MLP, the picture on the tokens; norms come after."""

    def __init__(self, width: int, heads: int, ffn: int, *, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = Attention(width, heads, SHRINK)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ffn), nn.ReLU(), nn.Linear(ffn, width))
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.image_to_token = Attention(width, heads, SHRINK)

    def forward(
        self, tokens: torch.Tensor, picture: torch.Tensor, token_places: torch.Tensor, picture_places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, Q, C), picture (B, P, C) and the places of each -> tokens, picture.

        In the first layer the tokens are their own places, so they are neither added nor carried past the attention.
        """
        if self.first:
            tokens = self.self_attention(tokens, tokens, tokens)
        else:
            placed = tokens + token_places
            tokens = tokens + self.self_attention(placed, placed, tokens)
        tokens = self.norm1(tokens)
        looked = self.token_to_image(tokens + token_places, picture + picture_places, picture)
        tokens = self.norm2(tokens + looked)
        tokens = self.norm3(tokens + self.mlp(tokens))
        told = self.image_to_token(picture + picture_places, tokens + token_places, tokens)
        return tokens, self.norm4(picture + told)


class TwoWayTransformer(nn.Module):
    """Layers, then a last look of the tokens at the picture."""

    def __init__(self, width: int, heads: int, ffn: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayLayer(width, heads, ffn, first=index == 0) for index in range(layers)])
        self.final = Attention(width, heads, SHRINK)
        self.final_norm = nn.LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, picture: torch.Tensor, picture_places: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (B, Q, C), picture (B, P, C), its places (1, P, C) -> tokens (B, Q, C), picture (B, P, C)."""
        token_places = tokens
        for layer in self.layers:
            tokens, picture = layer(tokens, picture, token_places, picture_places)
        looked = self.final(tokens + token_places, picture + picture_places, picture)
        return self.final_norm(tokens + looked), picture
