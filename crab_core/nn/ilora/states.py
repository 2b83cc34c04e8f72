"""Adapter tensors as a plain state dict, and the published key layout.

ours       <layer>.ilora_router.weight (H, in)   <layer>.ilora_A.weight (r, in)   <layer>.ilora_B.weight (out, H r)
published  <layer>.lora_route.weight   (H, in)   <layer>.lora_A.weight  (r, in)   <layer>.lora_B{h}.weight (out, r)

`<layer>` is the name of the linear layer, such as `model.layers.0.self_attn.q_proj`; peft's files and the published
ones put `base_model.model.` before it. Within a module, the adapter's name stands before `weight`:
`ilora_A.default.weight`. Head count and rank are never stored apart: the tensors' shapes tell them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import nn

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.nn.ilora.heads import layers
from crab_core.nn.ilora.layer import Down, ILoraLayer, Router, Up
from crab_core.nn.ilora.routing import bare_name

State = Mapping[str, torch.Tensor]
Part = Router | Down | Up

_PUBLISHED = re.compile(r"(?P<layer>.+)\.lora_(?P<part>route|A|B(?P<head>\d+))\.weight")
_OURS = re.compile(r"(?P<layer>.+)\.ilora_(?P<part>router|A|B)(?:\.(?P<adapter>[^.]+))?\.weight")


def adapter_state(module: nn.Module, adapter: str = "default") -> dict[str, torch.Tensor]:
    """The tensors of one adapter, detached and under our keys without the adapter's name.

    Raises UsageError if the module has no I-LoRA layer or none that carries that adapter.
    """
    state = {key: holder.weight.detach() for key, holder in _holders(module, adapter).items()}
    if not state:
        names = sorted({name for layer in layers(module) for name in layer.heads})
        raise UsageError(f"no adapter is called '{adapter}'", hint=f"Every adapter: {', '.join(names)}.")
    return state


def load_adapter_state(module: nn.Module, state: State, adapter: str = "default") -> None:
    """Put tensors of our or of the published keys into one adapter that is there, strictly; other keys are refused.

    Tensors are cast to the adapter's dtype and device. A parameter on the meta device is replaced by the tensor.

    Raises WeightsMismatch if keys are lacking or unknown, ModelError if a shape differs.
    """
    given = {bare_name(key): tensor for key, tensor in from_published(state).items()}
    wanted = _holders(module, adapter)
    if set(given) != set(wanted):
        raise WeightsMismatch(f"adapter {adapter}", sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted)))
    for key, holder in wanted.items():
        if holder.weight.shape != given[key].shape:
            raise ModelError(
                f"'{key}' is {tuple(given[key].shape)} in the file and {tuple(holder.weight.shape)} in the network",
                hint="Build the adapter with the head count and rank that shape_of(state) gives.",
            )
    for key, holder in wanted.items():
        _fill(holder, given[key])


def shape_of(state: State) -> tuple[int, int]:
    """(heads, rank) of the adapter whose tensors these are, under our or the published keys.

    Raises ModelError if there is no I-LoRA tensor, or if layers differ.
    """
    sizes: dict[str, set[int]] = {"heads": set(), "rank": set()}
    for key, tensor in state.items():
        match = _OURS.fullmatch(key) or _PUBLISHED.fullmatch(key)
        if match and match["part"] in ("router", "route"):
            sizes["heads"].add(tensor.shape[0])
        elif match and match["part"] == "A":
            sizes["rank"].add(tensor.shape[0])
    for noun, found in sizes.items():
        if not found:
            raise ModelError(f"no tensor tells the {noun} of an I-LoRA adapter", hint="Is it an I-LoRA checkpoint?")
        if len(found) > 1:
            raise ModelError(f"layers differ in {noun}: '{sorted(found)}'", hint="Load them as adapters of their own.")
    return sizes["heads"].pop(), sizes["rank"].pop()


def from_published(state: State) -> dict[str, torch.Tensor]:
    """The same tensors under our keys, each layer's heads side by side; every other key is passed through.

    Converting twice changes nothing. Raises ModelError if heads of a layer are missing or differ in shape.
    """
    converted: dict[str, torch.Tensor] = {}
    stacks: dict[str, dict[int, torch.Tensor]] = defaultdict(dict)
    for key, tensor in state.items():
        match = _PUBLISHED.fullmatch(key)
        if match is None:
            converted[key] = tensor
        elif match["head"] is not None:
            stacks[match["layer"]][int(match["head"])] = tensor
        else:
            part = "router" if match["part"] == "route" else "A"
            converted[f"{match['layer']}.ilora_{part}.weight"] = tensor
    for layer, matrices in stacks.items():
        converted[f"{layer}.ilora_B.weight"] = _side_by_side(layer, matrices)
    return converted


def to_published(state: State) -> dict[str, torch.Tensor]:
    """The same tensors under the published keys, one B a head; every other key is passed through.

    It takes keys without an adapter's name, as `adapter_state` and peft's files have them.

    Raises ModelError if the router of a layer is lacking or does not divide its B.
    """
    published: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        match = _OURS.fullmatch(key)
        if match is None or match["adapter"] is not None:
            published[key] = tensor
        elif match["part"] == "B":
            heads = _heads_beside(state, key, tensor)
            for head, matrix in enumerate(tensor.chunk(heads, dim=1)):
                published[f"{match['layer']}.lora_B{head}.weight"] = matrix.contiguous()
        else:
            part = "route" if match["part"] == "router" else "A"
            published[f"{match['layer']}.lora_{part}.weight"] = tensor
    return published


def _heads_beside(state: State, key: str, tensor: torch.Tensor) -> int:
    """The head count that the router of the same layer tells."""
    router = state.get(key.replace(".ilora_B", ".ilora_router"))
    if router is None or tensor.shape[1] % router.shape[0]:
        raise ModelError(f"'{key}' has no router that fits it", hint="The file is incomplete: fetch it again.")
    return int(router.shape[0])


def _side_by_side(layer: str, matrices: dict[int, torch.Tensor]) -> torch.Tensor:
    """B of all heads, (out, H r), in the order of their numbers."""
    if sorted(matrices) != list(range(len(matrices))):
        raise ModelError(
            f"'{layer}' has the heads {sorted(matrices)} and not all from 0 on", hint="Some heads are missing."
        )
    if len({matrix.shape for matrix in matrices.values()}) > 1:
        raise ModelError(f"the heads of '{layer}' differ in shape", hint="The file mixes adapters of different ranks.")
    return torch.cat([matrices[head] for head in range(len(matrices))], dim=1)


def _holders(module: nn.Module, adapter: str) -> dict[str, Part]:
    """The small modules of one adapter by the key of their weight."""
    layers(module)  # raises if there is none
    return {
        bare_name(f"{name}.{part}.weight"): getattr(layer, part)[adapter]
        for name, layer in module.named_modules()
        if isinstance(layer, ILoraLayer) and adapter in layer.heads
        for part in ILoraLayer.adapter_layer_names
    }


def _fill(holder: Part, tensor: torch.Tensor) -> None:
    """Copy the tensor into the weight; on the meta device, put it in the weight's place."""
    if not holder.weight.is_meta:
        with torch.no_grad():
            holder.weight.copy_(tensor)
        return
    holder.weight = nn.Parameter(tensor.to(holder.weight.dtype), requires_grad=holder.weight.requires_grad)
