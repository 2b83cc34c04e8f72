"""4-bit and 8-bit weights for the linears of a decoder, by bitsandbytes; works on CPUs and on CUDA devices.

Source of the 4-bit type (NF4 with double quantisation): QLoRA (arXiv 2305.14314, section 3).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.optional import need

KINDS = ("4bit", "8bit")
PACKED_ROWS, PACKED_COLUMNS = 32, 64  # blocks of bitsandbytes' packed layout
KEPT = ("lm_head",)  # the output layer stays exact, as in QLoRA


def quantize(module: nn.Module, kind: str, compute_dtype: torch.dtype, device: str = "cpu") -> int:
    """Replaces every linear but the output layer by a quantised one, in place; gives how many were replaced.

    Linears must have their weights; adapters beside them stay as they are. Raises UsageError for an unknown kind,
    MissingExtra if bitsandbytes is not installed.
    """
    if kind not in KINDS:
        raise UsageError(f"no quantisation is called '{kind}'", hint=f"Every quantisation: none, {', '.join(KINDS)}.")
    bnb = need("bitsandbytes", extra="dev", why=f"--quantize {kind}")
    count = 0
    for parent, name, linear in list(_linears(module)):
        build = _four_bit if kind == "4bit" else _eight_bit
        setattr(parent, name, build(bnb.nn, linear, compute_dtype).to(device))
        count += 1
    return count


def _linears(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear and name not in KEPT:
                yield parent, name, child


def _four_bit(layers: object, linear: nn.Linear, compute_dtype: torch.dtype) -> nn.Module:
    made = layers.Linear4bit(  # type: ignore[attr-defined]
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
    weight = layers.Params4bit(  # type: ignore[attr-defined]
        linear.weight.detach(), requires_grad=False, compress_statistics=True, quant_type="nf4", module=made
    )
    return _filled(made, weight, linear)


def _eight_bit(layers: object, linear: nn.Linear, compute_dtype: torch.dtype) -> nn.Module:
    made = layers.Linear8bitLt(  # type: ignore[attr-defined]
        linear.in_features, linear.out_features, bias=linear.bias is not None, has_fp16_weights=False, device="meta"
    )
    weight = layers.Int8Params(linear.weight.detach(), requires_grad=False, has_fp16_weights=False)  # type: ignore[attr-defined]
    return _filled(made, weight, linear)


def _filled(made: nn.Module, weight: nn.Parameter, linear: nn.Linear) -> nn.Module:
    made.weight = weight
    if linear.bias is not None:
        made.bias = nn.Parameter(linear.bias.detach(), requires_grad=False)
    return made.train(linear.training)
