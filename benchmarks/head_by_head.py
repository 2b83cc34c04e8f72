"""The published layer's order of the same sums, to be measured beside ours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.ilora import ILoraLayer


class HeadByHead(nn.Module):
    """For each head A again, its B, its weight, the scale, one more sum. Source: Crab (arXiv 2503.13068).

    A layer that learns shares A and the router with ours and has matrices B of its own, that begin as ours are.
    """

    def __init__(self, layer: ILoraLayer, *, learns: bool = False) -> None:
        super().__init__()
        self.layer = layer
        heads = (layer.head(head).detach().clone() for head in range(layer.heads["default"]))
        self.ups = nn.ParameterList(nn.Parameter(head, requires_grad=learns) for head in heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out)."""
        layer, scale = self.layer, self.layer.scaling["default"]
        drop = layer.ilora_dropout["default"] if self.training else nn.Identity()
        result = layer.base_layer(x)
        route = layer.ilora_router["default"](x)
        for head, up in enumerate(self.ups):
            low = F.linear(drop(x), layer.ilora_A["default"].weight)
            result = result + route[..., head : head + 1] * F.linear(low, up) * scale
        return result
