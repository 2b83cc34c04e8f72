"""CLIP's vision tower as a visual encoder: patch tokens of chosen hidden layers, without the class token.

    (N, 3, 224, 224) -> [(N, 256, 1024), ...] one a layer, the last one feeds the LLM

Source: Crab (arXiv 2503.13068) takes hidden states 14, 22 and 23 of CLIP ViT-L/14 (arXiv 2103.00020), the tower is
transformers'. Differs: layers behind the last chosen one are not built, for nothing reads them.
Parity: tests/parity/test_parity_clip.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from crab_core.nn.crab_config import PUBLISHED_LAYERS


class ClipVisualEncoder(nn.Module):
    """The tower up to the last of `layers`; hidden state 0 is what enters the first layer."""

    def __init__(
        self,
        layers: Sequence[int] = PUBLISHED_LAYERS,
        hidden: int = 1024,
        heads: int = 16,
        ffn: int = 4096,
        image_px: int = 224,
        patch_px: int = 14,
        activation: str = "quick_gelu",
    ) -> None:
        super().__init__()
        if list(layers) != sorted(set(layers)) or not layers or layers[0] < 0:
            raise ValueError(f"layers must rise from 0 or more, got {list(layers)}")
        from transformers import CLIPVisionConfig, CLIPVisionModel

        self.layers = tuple(layers)
        settings = CLIPVisionConfig(
            hidden_size=hidden,
            num_hidden_layers=max(layers),
            num_attention_heads=heads,
            intermediate_size=ffn,
            image_size=image_px,
            patch_size=patch_px,
            hidden_act=activation,
        )
        self.tower = CLIPVisionModel(settings)

    def forward(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) normalised pictures -> one (N, P, D) a chosen layer."""
        states = self.tower(pixel_values=pictures, output_hidden_states=True).hidden_states
        return [states[layer][:, 1:] for layer in self.layers]
