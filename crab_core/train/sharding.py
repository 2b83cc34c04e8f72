"""The LLM's layers shared out over processes: each holds a part of every layer and gathers one layer while it computes.

Source: PyTorch's fully_shard (FSDP2); arXiv 2304.11277. Each layer of the LLM is sharded, with the adapter in it;
embeddings, output layer, encoders and projectors are whole in every process. Gradients of sharded weights are summed
over processes by the backward pass itself, so that every process must go through the network equally often.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from crab_core.nn.plus import PlusModel
from crab_core.train.processes import Group

if TYPE_CHECKING:
    from crab_core.nn.crab import CrabModel

TINY = 1e-6  # what torch's own clipping adds to a norm


def shard(model: CrabModel | PlusModel, group: Group) -> None:
    """Shares the layers of a model's LLM out over the processes of a group, which must have joined."""
    decoder = model.text if isinstance(model, PlusModel) else model.llm.model
    mesh = init_device_mesh(group.device.partition(":")[0], (group.size,))
    layers = list(decoder.layers)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    inside = {one for layer in layers for one in layer.parameters()}
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()) - inside)
    for module in decoder.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)  # sums, since each loss is divided by the whole step's counts
            module.set_force_sum_reduction_for_comms(True)  # gloo knows no other


def is_sharded(tensor: torch.Tensor) -> bool:
    """True for a weight of which this process holds a part."""
    return isinstance(tensor, DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The whole of a tensor, on the CPU; every process must ask for it."""
    found = tensor.detach()
    return (found.full_tensor() if isinstance(found, DTensor) else found).cpu()


def take(own: torch.Tensor, value: torch.Tensor) -> None:
    """Puts a whole value into a tensor, of which this process may hold a part."""
    own.detach().copy_(_part(value, own))


def whole_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with whole tensors; every process must ask for it."""

    def made(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return whole(value) if isinstance(value, DTensor) else value
        return {key: made(one) for key, one in value.items()} if isinstance(value, dict) else value

    return {key: made(value) for key, value in state.items()}


def parted_state(state: Mapping[str, Any], groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `whole_state` gave, for an optimizer with these groups of parameters, some of them in parts."""
    parameters = [one for group in groups for one in group["params"]]
    parted = {
        number: {name: _part(value, parameters[number]) for name, value in kept.items()}
        for number, kept in state["state"].items()
    }
    return {**state, "state": parted}


def clip_gradients(parameters: Iterable[torch.nn.Parameter], most: float, group: Group) -> float:
    """Scales all gradients so that their norm over all processes is at most `most`; gives the norm before."""
    gradients = [one.grad for one in parameters if one.grad is not None]
    parts = [one.to_local() for one in gradients if isinstance(one, DTensor)]
    own = sum(float(one.float().square().sum()) for one in gradients if not isinstance(one, DTensor))
    shared = group.sums([sum(float(one.float().square().sum()) for one in parts)])[0]
    norm = float((own + shared) ** 0.5)
    factor = min(1.0, most / (norm + TINY))
    for one in gradients:
        one.mul_(factor)
    return norm


def _part(value: Any, like: torch.Tensor) -> Any:
    if isinstance(like, DTensor) and isinstance(value, torch.Tensor) and value.shape == like.shape:
        return distribute_tensor(value.to(like.to_local().device), like.device_mesh, like.placements)
    return value
