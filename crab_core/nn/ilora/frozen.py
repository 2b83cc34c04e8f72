"""The quick way of an adapter that is not learning now: router and A in one product, the update added in place.

Router and A read the same input; stacked they read it once. Stacking is done once, not on every call: the weights
become views of the stack, nothing is held twice, and a change of either is a change of the stack. A token alone goes
through as vectors, with as few calls as can be: beside a large base layer it is calls that cost, not numbers.

# T leading dimensions (batch, tokens), H heads, r rank
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import nn


class Frozen:
    """Router, A and B of one adapter, to be used as long as nothing learns or watches."""

    def __init__(self, router: nn.Module, down: nn.Module, up: nn.Module, heads: int) -> None:
        self._modules = router, down, up
        self._heads = heads
        self._both = torch.empty(0)  # (H + r, in), kept alive so that nothing else can lie at its places
        self._places = (0, 0)

    def is_ready(self) -> bool:
        """True if nothing watches, no gradient of a weight is wanted, and all are of one dtype."""
        if torch.compiler.is_compiling():
            return False
        router, down, up = self._modules
        for module in self._modules:  # one plain pass: a small network asks this thousands of times a second
            if module.training or module._forward_hooks or module._forward_pre_hooks:
                return False
        weights = router._parameters["weight"], down._parameters["weight"], up._parameters["weight"]
        first, second, third = weights
        if first is None or second is None or third is None:
            return False
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            return False
        if (first.data_ptr(), second.data_ptr()) != self._places:  # moved, cast or replaced
            if first.is_inference() or second.is_inference() or first.dtype != second.dtype:
                return False
            self._both = _stacked(first, second)
            self._places = first.data_ptr(), second.data_ptr()
        return third.dtype == self._both.dtype

    def add(self, result: torch.Tensor, x: torch.Tensor, scaling: float) -> torch.Tensor:
        """result (..., out) + scaling * the update of x (..., in); in place if no gradient is wanted.

        `result` must be nobody else's.
        """
        both, up = self._both, self._modules[2]._parameters["weight"]
        if x.dtype != both.dtype:
            x = x.to(both.dtype)
        if torch.is_grad_enabled() or result.dtype != up.dtype or not result.is_contiguous():
            return torch.add(result, F.linear(self._weighed(x), up).to(result.dtype), alpha=scaling)
        if x.numel() == both.shape[1]:
            logits, low = torch.mv(both, x.view(-1)).split_with_sizes((self._heads, len(both) - self._heads))
            route = torch.softmax(logits, 0) if low.dtype == torch.float32 else _softmax(logits)
            result.view(-1).addmv_(up, (route.unsqueeze(1) * low).view(-1), alpha=scaling)
        else:
            result.view(-1, len(up)).addmm_(self._weighed(x).view(-1, up.shape[1]), up.t(), alpha=scaling)
        return result

    def _weighed(self, x: torch.Tensor) -> torch.Tensor:
        """route (x) A x of x (..., in): (..., H r)."""
        logits, low = F.linear(x, self._both).tensor_split((self._heads,), dim=-1)
        return (_softmax(logits).unsqueeze(-1) * low.unsqueeze(-2)).flatten(-2)

    def __deepcopy__(self, memo: dict[int, object]) -> Frozen:
        return Frozen(*copy.deepcopy(self._modules, memo), self._heads)

    def __reduce__(self) -> tuple[type[Frozen], tuple[object, ...]]:
        return Frozen, (*self._modules, self._heads)


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    """Over the last dimension, computed in float32."""
    return torch.softmax(logits, -1, dtype=torch.float32).to(logits.dtype)


@torch.inference_mode(False)
@torch.no_grad()
def _stacked(router: nn.Parameter, down: nn.Parameter) -> torch.Tensor:
    both = torch.cat([router.detach(), down.detach()])
    router.data, down.data = both[: len(router)], both[len(router) :]
    return both
