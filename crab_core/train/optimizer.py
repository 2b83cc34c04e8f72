"""Which rule moves the weights: AdamW for everything, or Muon for the matrices inside the LLM and AdamW for the rest.

Muon steps along the nearest orthogonal matrix of the momentum, so that every direction of a weight moves alike; on
the small LLM it needs about half of AdamW's steps (docs/design.md). Source: Jordan et al., "Muon: an optimizer for
hidden layers in neural networks" (2024); the rule is torch's, in the precision of the weights. Tables of tokens, norms,
biases and kernels of convolutions stay with AdamW, as its authors advise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim import Muon as TorchMuon

from crab_core.errors import UsageError
from crab_core.optional import need
from crab_core.train.settings import OptimizerName

BETAS = (0.9, 0.98)
MOMENTUM = 0.95
PACKED = {"adamw8bit": "AdamW8bit", "paged-adamw8bit": "PagedAdamW8bit"}  # of bitsandbytes
TABLES = ("embed", "lm_head", "tokens", "head")  # rows of these belong to tokens, not to directions


def make_optimizer(
    module: nn.Module, name: OptimizerName, rate: float, matrix_rate: float, weight_decay: float
) -> Optimizer:
    """The optimizer of what learns in `module`: `rate` of AdamW, `matrix_rate` of Muon, which adamw has no use for.

    Norms and biases do not decay.
    """
    learning = [(key, one) for key, one in module.named_parameters() if one.requires_grad]
    matrices = [one for key, one in learning if name == "muon" and _is_matrix(key, one)]
    taken = {id(one) for one in matrices}
    rest = [one for _, one in learning if id(one) not in taken]
    groups = [
        {"params": [one for one in rest if one.ndim > 1], "weight_decay": weight_decay},
        {"params": [one for one in rest if one.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name in PACKED:
        return _packed(name, groups, rate)
    one_by_one = len({type(one.data) for one in rest}) > 1  # weights in parts beside whole ones take no common step
    parts: list[Optimizer] = []
    if groups:
        parts.append(AdamW(groups, lr=rate, betas=BETAS, foreach=False if one_by_one else None))
    if matrices:
        parts.append(Muon(matrices, lr=matrix_rate, momentum=MOMENTUM, weight_decay=weight_decay))
    return parts[0] if len(parts) == 1 else Together(parts)


def _is_matrix(key: str, parameter: nn.Parameter) -> bool:
    """True for a weight of the LLM's layers or of an adapter in them."""
    owner = key.split(".")[-2:]
    return (
        parameter.ndim == 2 and ".layers." in f".{key}" and not any(mark in part for part in owner for mark in TABLES)
    )


class Muon(TorchMuon):
    """torch's Muon, but that the matrices are made orthogonal in their own precision.

    torch does that in bfloat16, which a CPU without bfloat16 units computes some twenty times slower than float32.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every matrix that has a gradient; gives what the closure gives, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            matrices: list[torch.Tensor] = []
            gradients: list[torch.Tensor] = []
            averages: list[torch.Tensor] = []
            self._init_group(group, matrices, gradients, averages)
            for matrix, gradient, average in zip(matrices, gradients, averages, strict=True):
                average.lerp_(gradient, 1 - group["momentum"])
                update = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
                rate = group["lr"] * max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                matrix.add_(orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"]), alpha=-rate)
        return loss


def orthogonal(
    matrix: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float = 1e-7
) -> torch.Tensor:
    """Nearly the nearest matrix (m, n) with orthogonal rows or columns, by `steps` quintic Newton-Schulz iterations.

    Its singular values lie between about 0.7 and 1.2 rather than at 1, as Jordan's coefficients have it.
    """
    tall = matrix.size(0) > matrix.size(1)
    found = matrix.T if tall else matrix
    found = found / found.norm().clamp(min=eps)
    linear, cubic, quintic = coefficients
    for _ in range(steps):
        gram = found @ found.T
        found = torch.addmm(found, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), found, beta=linear)
    return found.T if tall else found


def _packed(name: OptimizerName, groups: list[dict[str, Any]], rate: float) -> Optimizer:
    """An AdamW of bitsandbytes whose memory of each parameter is 8-bit, in place or paged between GPU and CPU.

    Raises UsageError for paging without a GPU.
    """
    device = groups[0]["params"][0].device if groups else torch.device("cpu")
    if device.type != "cuda" and name.startswith("paged"):
        raise UsageError(
            f"the optimizer '{name}' needs a GPU, and the run is on '{device}'", hint="Use optimizer: adamw8bit."
        )
    made = getattr(need("bitsandbytes.optim", extra="dev", why=f"optimizer {name}"), PACKED[name])
    optimizer: Optimizer = made(groups, lr=rate, betas=BETAS)
    return optimizer


class Together(Optimizer):
    """Several optimizers as one: their groups in a row, one step, one state.

    Schedulers change the groups' rates, which are those of the parts themselves.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        # Optimizer's own constructor would make groups of its own
        self.parts = list(parts)
        self.defaults: dict[str, Any] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups of all parts."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[torch.Tensor, Any]:  # type: ignore[override]
        """What the parts remember of each parameter."""
        return {key: value for part in self.parts for key, value in part.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of each part; a closure is not taken, since it would be called once a part."""
        if closure is not None:
            raise ValueError("several optimizers as one take no closure")
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients of every part."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The state of each part by its number."""
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the states of all parts over; raises ValueError for another number of parts."""
        if set(state_dict) != {str(number) for number in range(len(self.parts))}:
            raise ValueError(f"the state is of {len(state_dict)} optimizers, not of {len(self.parts)}")
        for number, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(number)])

    def __repr__(self) -> str:
        return f"Together({self.parts!r})"
