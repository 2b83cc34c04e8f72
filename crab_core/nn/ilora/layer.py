"""One linear layer with interaction-aware LoRA: a shared A, one B a head, and a router that weighs the heads.

    route = softmax(R x)                                          R (H, in)
    y     = W x + b + alpha / r * sum_h route_h B_h A drop(x)     A (r, in), B_h (out, r)

Source: Crab (arXiv:2503.13068). Differs from the published code: the heads lie side by side in one
(out, H r) matrix, and sum_h route_h B_h a = [B_1 .. B_H] (route (x) a), so that one product serves all heads and no
(tokens, H, out) tensor exists; any leading dimensions; the base may be any linear layer, 4-bit ones included, since
only its forward is called; an adapter that is not learning now takes the quick way of `frozen`.
Parity: tests/parity/test_parity_ilora.py.

# T leading dimensions (batch, tokens), H heads, r rank
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora._peft import BaseTunerLayer
from crab_core.nn.ilora.frozen import Frozen

if TYPE_CHECKING:
    from crab_core.nn.ilora.config import ILoraConfig
    from crab_core.nn.ilora.heads import RouteChange


class Router(nn.Module):
    """Weighs the heads for each token: x (..., in) -> (..., H), positive, sum 1, in the dtype of its weight.

    A module of its own, so that a forward hook sees the routing weights.
    """

    def __init__(self, in_features: int, heads: int) -> None:
        super().__init__()
        # never zeros: with B = 0 too, all heads would get the same gradient for ever
        self.weight = nn.Parameter(_kaiming(heads, in_features))  # (H, in)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The routing weights of each token; the softmax is computed in float32."""
        logits = F.linear(x, self.weight)
        return F.softmax(logits, dim=-1, dtype=torch.float32).to(logits.dtype)

    def extra_repr(self) -> str:
        """The sizes, for `print(model)`."""
        heads, in_features = self.weight.shape
        return f"in_features={in_features}, heads={heads}"


class Down(nn.Module):
    """The shared A: x (..., in) -> (..., r)."""

    def __init__(self, in_features: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(_kaiming(rank, in_features))  # (r, in)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input in r dimensions."""
        return F.linear(x, self.weight)


class Up(nn.Module):
    """The B matrices of all heads side by side: (..., H r) -> (..., out); head h is columns [h r, (h + 1) r)."""

    def __init__(self, rank: int, heads: int, out_features: int, *, zero: bool) -> None:
        super().__init__()
        size = (out_features, heads * rank)
        self.weight = nn.Parameter(torch.zeros(size) if zero else _kaiming(*size))  # (out, H r)

    def forward(self, weighed: torch.Tensor) -> torch.Tensor:
        """The sum of all heads' updates."""
        return F.linear(weighed, self.weight)


class ILoraLayer(nn.Module, BaseTunerLayer):
    """A linear layer of any kind with I-LoRA adapters beside it, by name.

    An adapter computes in the dtype of its own weights: the input is cast to it, the update is cast to the dtype of
    the base layer's result. The sum over active adapters is added to the base.
    """

    # peft walks these names to train, save, load, move, freeze and delete an adapter
    adapter_layer_names: tuple[str, ...] = ("ilora_A", "ilora_B", "ilora_router")
    other_param_names: tuple[str, ...] = (
        "rank",
        "heads",
        "scaling",
        "ilora_dropout",
        "per_head_dropout",
        "head_masks",
        "frozen",
    )

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: ILoraConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.rank: dict[str, int] = {}
        self.heads: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.per_head_dropout: dict[str, bool] = {}
        self.head_masks: dict[str, RouteChange] = {}
        self.frozen: dict[str, Frozen] = {}
        self.ilora_dropout = nn.ModuleDict()
        self.ilora_A = nn.ModuleDict()
        self.ilora_B = nn.ModuleDict()
        self.ilora_router = nn.ModuleDict()
        self.merged_adapters: list[str] = []  # peft asks; nothing is ever merged
        base = self.get_base_layer()
        # not from weight.shape: a 4-bit weight is packed to (n, 1) bytes
        self.in_features, self.out_features = base.in_features, base.out_features
        self._active_adapter = adapter_name  # BaseTunerLayer has no public setter that works before the first adapter
        self.add_adapter(adapter_name, config)

    def add_adapter(self, name: str, config: ILoraConfig) -> None:
        """Add a fresh adapter, or replace the one of that name; it is on the device of the base and in its dtype."""
        self.rank[name] = config.rank
        self.heads[name] = config.heads
        self.scaling[name] = config.alpha / config.rank
        self.per_head_dropout[name] = config.per_head_dropout
        self.head_masks.pop(name, None)
        self.ilora_dropout[name] = nn.Dropout(config.dropout) if config.dropout > 0 else nn.Identity()
        self.ilora_A[name] = Down(self.in_features, config.rank)
        self.ilora_B[name] = Up(config.rank, config.heads, self.out_features, zero=config.init_weights)
        self.ilora_router[name] = Router(self.in_features, config.heads)
        self.frozen[name] = Frozen(self.ilora_router[name], self.ilora_A[name], self.ilora_B[name], config.heads)
        self._move_adapter_to_device_of_base_layer(name)  # private in peft, and what each of its own tuners calls
        self.set_adapter(self.active_adapters)

    def head(self, index: int, adapter: str = "default") -> torch.Tensor:
        """B of one head, (out, r), as a view. Raises UsageError if there is no such adapter or head."""
        if adapter not in self.heads:
            raise UsageError(f"no adapter is called '{adapter}'", hint=f"Every adapter: {', '.join(self.heads)}.")
        if not 0 <= index < self.heads[adapter]:
            raise UsageError(f"there is no head '{index}'", hint=f"Heads go from 0 to {self.heads[adapter] - 1}.")
        rank = self.rank[adapter]
        return self.ilora_B[adapter].weight[:, index * rank : (index + 1) * rank]

    def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """The base layer's result plus the active adapters' updates: (..., in) -> (..., out)."""
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        for name in self.active_adapters:
            if name in self.heads:
                result = self._added(result, x, name)
        return result

    def _added(self, result: torch.Tensor, x: torch.Tensor, name: str) -> torch.Tensor:
        """The result (..., out) with one adapter's update of x (..., in)."""
        if name not in self.head_masks:
            frozen = self.frozen[name]
            if frozen.is_ready():
                return frozen.add(result, x, self.scaling[name])
        return torch.add(result, self.mixture(x, name).to(result.dtype), alpha=self.scaling[name])

    def mixture(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """All heads of one adapter, weighed but not yet scaled: (..., in) -> (..., out), in the adapter's dtype."""
        down = self.ilora_A[name]
        if not torch.is_autocast_enabled(x.device.type):  # which would cast it back for each of the products
            x = x.to(down.weight.dtype)
        route = self.ilora_router[name](x)  # (..., H)
        if name in self.head_masks:
            route = self.head_masks[name].apply(route)
        # one row that serves all heads, (..., 1, r), or one a head, (..., H, r)
        low = self._dropped(down, x, name) if self.training else down(x).unsqueeze(-2)
        weighed = route.unsqueeze(-1) * low  # (..., H, r)
        return self.ilora_B[name](weighed.flatten(-2))

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuse: what the adapter adds depends on the input, so no weight equals it. Raises UsageError always."""
        raise UsageError(
            "an I-LoRA adapter cannot be merged: its routing depends on the input",
            hint="Keep the adapter beside the weights, or call unload() for the bare model.",
        )

    def unmerge(self) -> None:
        """Nothing to do: nothing is ever merged."""

    def _dropped(self, down: Down, x: torch.Tensor, name: str) -> torch.Tensor:
        """A drop(x) in training: with one mask for all heads (..., 1, r), or with one mask a head (..., H, r)."""
        drop, masks = self.ilora_dropout[name], self.heads[name] if self.per_head_dropout[name] else 1
        return torch.stack([down(drop(x)) for _ in range(masks)], dim=-2)


def _kaiming(rows: int, columns: int) -> torch.Tensor:
    """(rows, columns) uniform in +-1 / sqrt(columns): the usual start of a linear layer."""
    weight = torch.empty(rows, columns)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    return weight
