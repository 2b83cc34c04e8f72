"""Where and how a network computes, chosen once, with the reason kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass

from crab_core.errors import ResourceError, UsageError
from crab_core.families._base import Precision
from crab_core.registry import suggest

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTISATIONS = ("none", "4bit", "8bit")


@dataclass(frozen=True, slots=True)
class Backend:
    """A precision and why it was chosen: `cpu, float32: no GPU was found; CPUs compute float32 fastest`."""

    precision: Precision
    why: str


def check_names(device: str, dtype: str, quantize: str) -> None:
    """Refuse names that mean nothing, without importing torch; raises UsageError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise UsageError(f"no device is called '{device}'", hint="Use auto, cpu, cuda or cuda:N.")
    for kind, name, names in (("dtype", dtype, DTYPES), ("quantisation", quantize, QUANTISATIONS)):
        if name not in names:
            raise UsageError(f"no {kind} is called '{name}'", hint=suggest(name, list(names), kind=kind))


def choose(device: str = "auto", dtype: str = "auto", quantize: str = "none", *, compiled: bool = False) -> Backend:
    """The device, dtype and quantisation to compute with, and whether the step that writes a token is compiled.

    Raises UsageError for unknown names, ResourceError for a GPU or a compiler that is not there.
    """
    check_names(device, dtype, quantize)
    place, why_place = _device(device)
    kind, why_kind = _dtype(dtype, place)
    reasons = "; ".join(reason for reason in (why_place, why_kind) if reason)
    if compiled and place == "cpu":
        _check_compiler()
    precision = Precision(place, kind, quantize, compiled)
    return Backend(precision, f"{place}, {kind}, quantize {quantize}{', compiled' if compiled else ''}: {reasons}")


def _check_compiler() -> None:
    """torch.compile for a CPU makes C++; raises ResourceError if nothing compiles that."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise ResourceError(
            f"--compile needs a C++ compiler on a CPU, and '{name}' is not there",
            hint="Install it, set CXX, or leave --compile out.",
        )


def _device(device: str) -> tuple[str, str]:
    import torch

    if device == "cpu":
        return "cpu", "asked for"
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return ("cuda:0", "a GPU was found") if gpus else ("cpu", "no GPU was found")
    index = int(device.partition(":")[2] or 0)
    if index >= gpus:
        count = "no GPU was found" if gpus == 0 else f"{gpus} GPU was found" if gpus == 1 else f"{gpus} GPUs were found"
        hint = "Use --device cpu." if gpus == 0 else f"Use --device cuda:{gpus - 1} or a lower number."
        raise ResourceError(f"the device '{device}' is not there: {count}", hint=hint)
    return f"cuda:{index}", "asked for"


def _dtype(dtype: str, place: str) -> tuple[str, str]:
    import torch

    if dtype != "auto":
        return dtype, "dtype asked for"
    if place == "cpu":
        return "float32", "CPUs compute float32 fastest"
    if torch.cuda.is_bf16_supported():
        return "bfloat16", "this GPU has bfloat16"
    return "float16", "this GPU has no bfloat16"
