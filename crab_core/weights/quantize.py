"""4-bit and 8-bit weights for the linears of a decoder, by bitsandbytes; works on CPUs and on CUDA devices.

Source of the 4-bit type (NF4 with double quantisation): QLoRA (arXiv 2305.14314, section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.optional import need
from crab_core.weights.nf4 import packed_nf4

KINDS = ("4bit", "8bit")
PACKED_ROWS, PACKED_COLUMNS = 32, 64  # blocks of bitsandbytes' packed layout
FOUR_BIT_STATS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map", "quant_state.bitsandbytes__nf4")
KEPT = ("lm_head",)  # the output layer stays exact, as in QLoRA


Stats = Mapping[str, torch.Tensor]


def quantize(module: nn.Module, kind: str, compute_dtype: torch.dtype, device: str = "cpu") -> int:
    """Replaces every linear but the output layer by a quantised one, in place; gives how many were replaced.

    Linears must have their weights; adapters beside them stay as they are. Raises UsageError for an unknown kind,
    MissingExtra if bitsandbytes is not installed.
    """
    found = linears(module)
    for place in found:
        place.put(packed(place.linear, kind, compute_dtype, device, place.linear.weight))
    return len(found)


@dataclass(frozen=True, slots=True)
class Place:
    """A linear of a module: `path` is its name from the module on."""

    path: str
    parent: nn.Module
    name: str
    linear: nn.Linear

    def put(self, made: nn.Module) -> None:
        """Puts another layer where the linear is."""
        setattr(self.parent, self.name, made)


def linears(module: nn.Module) -> list[Place]:
    """Every linear that is to be quantised; they may be without weights."""
    return [
        Place(f"{path}.{name}" if path else name, parent, name, child)
        for path, parent in module.named_modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and name not in KEPT
    ]


def packed(
    linear: nn.Linear,
    kind: str,
    compute_dtype: torch.dtype,
    device: str,
    weight: torch.Tensor,
    stats: Stats | None = None,
) -> nn.Module:
    """The quantised layer of a weight (out, in), always quantised from float32; or of one that was packed before.

    `stats` is what `stats_names` says of a packed weight. The linear's own bias, if any, is taken over.
    """
    if kind not in KINDS:
        raise UsageError(f"no quantisation is called '{kind}'", hint=f"Every quantisation: none, {', '.join(KINDS)}.")
    layers = _layers(kind)
    make = _four_bit if kind == "4bit" else _eight_bit
    made = make(layers, linear, compute_dtype, weight.detach(), stats, device)
    if linear.bias is not None:
        made.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    made = made.train(linear.training).to(device)
    if kind == "4bit":
        made.weight.quant_state.dtype = compute_dtype  # what it is unpacked to
    return made


def stats_names(path: str, kind: str) -> tuple[str, ...]:
    """The names of the tensors that lie beside the packed weight of a layer."""
    if kind == "8bit":
        return f"{path}.SCB", f"{path}.weight_format"
    return tuple(f"{path}.weight.{one}" for one in FOUR_BIT_STATS)


def packed_tensors(path: str, made: nn.Module) -> dict[str, torch.Tensor]:
    """The tensors of a quantised layer without its bias, by the names under which they are stored."""
    state = made.state_dict()
    state.pop("bias", None)
    return {f"{path}.{key}": tensor.detach().cpu() for key, tensor in state.items()}


def _layers(kind: str) -> ModuleType:
    """bitsandbytes' layers; what it says to programmers about kernels that it lacks is not said."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    need("bitsandbytes", extra="dev", why=f"--quantize {kind}")
    return need("bitsandbytes.nn", extra="dev", why=f"--quantize {kind}")


def _four_bit(
    layers: ModuleType,
    linear: nn.Linear,
    compute_dtype: torch.dtype,
    weight: torch.Tensor,
    stats: Stats | None,
    device: str,
) -> nn.Module:
    made: nn.Module = layers.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=linear.bias is not None,
        compute_dtype=compute_dtype,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    # On processors with AVX512-BF16, bitsandbytes else repacks weights at the first forward and computes in bfloat16
    # whatever was asked for, and only for some sizes.
    fits = linear.out_features % PACKED_ROWS == 0 and linear.in_features % PACKED_COLUMNS == 0
    made.support_avx512bf16_for_cpu &= compute_dtype == torch.bfloat16 and fits
    options = {"requires_grad": False, "compress_statistics": True, "quant_type": "nf4", "module": made}
    if stats is None and device == "cpu":
        data, state = packed_nf4(weight)
        made.weight = layers.Params4bit(data, quant_state=state, bnb_quantized=True, **options)
        made.quant_state = state
        return made
    if stats is None:
        made.weight = layers.Params4bit(weight.to(device).float(), **options)
        return made
    own = {name.rpartition("weight.")[2]: tensor for name, tensor in stats.items()}
    made.weight = layers.Params4bit.from_prequantized(weight, own, requires_grad=False, device=device, module=made)
    return made


def _eight_bit(
    layers: ModuleType,
    linear: nn.Linear,
    compute_dtype: torch.dtype,
    weight: torch.Tensor,
    stats: Stats | None,
    device: str,
) -> nn.Module:
    made: nn.Module = layers.Linear8bitLt(
        linear.in_features, linear.out_features, bias=linear.bias is not None, has_fp16_weights=False, device="meta"
    )
    if stats is None:
        made.weight = layers.Int8Params(weight.float(), requires_grad=False, has_fp16_weights=False)
        return made
    scales = next(tensor for name, tensor in stats.items() if name.endswith("SCB"))
    made.weight = layers.Int8Params(weight, requires_grad=False, has_fp16_weights=False, CB=weight, SCB=scales)
    return made
