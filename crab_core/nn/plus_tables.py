"""Tables of positions as the published runs of Crab+ had them: made in bfloat16.

Loading the published code in bfloat16 computes the audio tower's sinusoids in bfloat16 arithmetic (up to 0.41 off), and
rounds the rotary frequencies of text and pictures; pictures' angles are then computed in bfloat16 too. transformers
keeps all of them in float32. The weights were trained with the former. Parity: tests/parity_plus, case q.
"""

from __future__ import annotations

import math

import torch
from torch import nn

LONGEST_PERIOD = 10_000  # of the sinusoids


class RoundedVisionRotary(nn.Module):
    """Replaces a vision tower's rotary embedding: (h, w) positions (N, 2) -> cosines and sines (N, head width)."""

    def __init__(self, inv_freq: torch.Tensor) -> None:
        super().__init__()
        self.inv_freq = nn.Buffer(inv_freq.to(torch.bfloat16), persistent=False)

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Angles, cosines and sines are bfloat16 numbers, given as float32; `x` only tells the device."""
        inv_freq = self.inv_freq.to(device=x.device, dtype=torch.bfloat16)
        angles = position_ids[..., None].to(torch.bfloat16) * inv_freq  # (N, 2, F)
        angles = angles.flatten(1).repeat(1, 2)  # (N, 4F): h, w, h, w
        return angles.cos().float(), angles.sin().float()


def rounded_sinusoids(length: int, channels: int) -> torch.Tensor:
    """The audio tower's table (length, channels) with every step in bfloat16, given as float32."""
    step = math.log(LONGEST_PERIOD) / (channels // 2 - 1)
    rates = torch.exp((-step * torch.arange(channels // 2)).to(torch.bfloat16))
    angles = torch.arange(length).to(torch.bfloat16)[:, None] * rates  # (length, channels / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def round_tables(text: nn.Module, audio_tower: nn.Module, visual: nn.Module) -> None:
    """Puts rounded tables into the three parts of a thinker, in place."""
    for name in ("inv_freq", "original_inv_freq"):
        buffer = getattr(text.rotary_emb, name)
        buffer.copy_(buffer.to(torch.bfloat16).float())
    table = audio_tower.positional_embedding.positional_embedding
    table.copy_(rounded_sinusoids(*table.shape))
    visual.rotary_pos_emb = RoundedVisionRotary(visual.rotary_pos_emb.inv_freq)
