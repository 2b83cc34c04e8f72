"""The published layer's order of the same sums, to be measured beside ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.ilora import ILoraLayer


class HeadByHead(nn.Module):
    """For each head A again, its B, its weight, the scale, one more sum. Source: Crab (arXiv 2503.13068)."""

    def __init__(self, layer: ILoraLayer) -> None:
        super().__init__()
        self.layer = layer
        self.ups = [layer.head(head).detach().clone() for head in range(layer.heads["default"])]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        layer, scale = self.layer, self.layer.scaling["default"]
        result = layer.base_layer(x)
        route = layer.ilora_router["default"](x)
        for head, up in enumerate(self.ups):
            low = F.linear(x, layer.ilora_A["default"].weight)
            result = result + route[..., head : head + 1] * F.linear(low, up) * scale
        return result
