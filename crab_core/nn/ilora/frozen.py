"""The quick way of an adapter that is not learning now: router and A in one product, the update added in place.

Router and A read the same input; stacked they read it once. Stacking is done once, not on every call: the weights
become views of the stack, nothing is held twice, and a change of either is a change of the stack.

# T leading dimensions (batch, tokens), H heads, r rank
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Stack:
    """Router and A as one matrix (H + r, in); made anew when one of them was moved, cast or replaced."""

    def __init__(self) -> None:
        self._both = torch.empty(0)
        self._places = (0, 0)

    def of(self, router: nn.Parameter, down: nn.Parameter) -> torch.Tensor:
        """The matrix whose first H rows are the router's and whose others are A's."""
        if (router.data_ptr(), down.data_ptr()) != self._places:
            self._both = _stacked(router, down)  # kept alive, so that nothing else can lie at its places
            self._places = router.data_ptr(), down.data_ptr()
        return self._both

    def __deepcopy__(self, memo: dict[int, object]) -> Stack:
        return Stack()

    def __reduce__(self) -> tuple[type[Stack], tuple[()]]:
        return Stack, ()


def is_frozen(*modules: nn.Module) -> bool:
    """True if nothing watches these modules, no gradient of their `weight` is wanted, and all are of one dtype."""
    if torch.compiler.is_compiling():
        return False
    learns = torch.is_grad_enabled()
    dtype = modules[0].weight.dtype
    for module in modules:  # one plain pass: a small network asks this thousands of times a second
        weight = module._parameters["weight"]
        if module.training or module._forward_hooks or module._forward_pre_hooks or weight is None:
            return False
        if (learns and weight.requires_grad) or weight.dtype != dtype or weight.is_inference():
            return False
    return True


def weighed(x: torch.Tensor, stack: torch.Tensor, heads: int) -> torch.Tensor:
    """route (x) A x of x (..., in): (..., H r), for one stack of H router rows and r of A."""
    logits, low = F.linear(x, stack).tensor_split((heads,), dim=-1)
    route = F.softmax(logits, dim=-1, dtype=torch.float32).to(low.dtype)
    return (route.unsqueeze(-1) * low.unsqueeze(-2)).flatten(-2)


def add_update(result: torch.Tensor, weighed: torch.Tensor, up: torch.Tensor, scaling: float) -> torch.Tensor:
    """result (..., out) + scaling * weighed (..., H r) up^T, of up (out, H r); in place if no gradient is wanted.

    `result` must be nobody else's.
    """
    if torch.is_grad_enabled() or result.dtype != up.dtype or not result.is_contiguous():
        return torch.add(result, F.linear(weighed, up).to(result.dtype), alpha=scaling)
    if weighed.numel() == up.shape[1]:  # one row: a product with a vector has less to prepare
        result.view(-1).addmv_(up, weighed.view(-1), alpha=scaling)
    else:
        result.view(-1, len(up)).addmm_(weighed.view(-1, weighed.shape[-1]), up.t(), alpha=scaling)
    return result


@torch.inference_mode(False)
@torch.no_grad()
def _stacked(router: nn.Parameter, down: nn.Parameter) -> torch.Tensor:
    both = torch.cat([router.detach(), down.detach()])
    router.data, down.data = both[: len(router)], both[len(router) :]
    return both
