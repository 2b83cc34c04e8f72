"""Will a model fit? An estimate from the weights' headers, made before anything is loaded.

A family that knows its networks tells weights, key-value cache and activations apart; else the estimate is the weights
in the dtype of computing, times a margin.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.errors import ModelError, ResourceError, UsageError
from crab_core.families._base import MeasuredFamily, MeasuredMasker, Needs, Precision

if TYPE_CHECKING:
    from crab_core.weights.folder import Header

GIB = 2**30
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
QUANTISED_BYTES = {"4bit": 0.56, "8bit": 1.05}  # with the scales; about 90 % of the weights are quantised
QUANTISED_SHARE = 0.9
MARGIN = 1.2  # activations and cache of a clip and a few hundred tokens
NEW_TOKENS = 256  # of the answer that an estimate counts on
LONGEST_HEADER = 100 * 2**20  # bytes; safetensors' own limit


def check_fits(
    folder: Path,
    precision: Precision,
    family: object = None,
    max_bytes: int | None = None,
    new_tokens: int = NEW_TOKENS,
    masker: object = None,
) -> int:
    """The bytes that the model of a folder will need; raises ResourceError if there are not so many.

    The error names the smallest change of precision that fits. `max_bytes` is what may be used at most, `masker` what
    draws masks beside the model.
    """

    def needs(one: Precision) -> Needs:
        return needs_of(folder, one, family, new_tokens, masker)

    asked = needs(precision)
    free = available_bytes(precision.device)
    room = min((bytes_ for bytes_ in (free, max_bytes) if bytes_ is not None), default=None)
    if room is not None and asked.total > room:
        limited = max_bytes is not None and room == max_bytes
        has = "may use" if limited else "has"
        raise ResourceError(
            f"the model in '{folder}' needs about {_told(asked)} and '{precision.device}' {has} "
            f"{amount(room)}{'' if limited else ' free'} ({precision.dtype}, quantize {precision.quantize})",
            hint=_cure(precision, needs, room),
        )
    return asked.total


def needs_of(
    folder: Path, precision: Precision, family: object = None, new_tokens: int = NEW_TOKENS, masker: object = None
) -> Needs:
    """What the model of a folder takes by parts, with what draws masks beside it, if anything does."""
    if isinstance(family, MeasuredFamily):
        model = family.needs(folder, precision, new_tokens)
    else:
        model = Needs(estimate_bytes(folder, precision), 0, 0)
    return model.beside(masker.needs(precision)) if isinstance(masker, MeasuredMasker) else model


def totals_of(folder: Path, header: Header) -> dict[str, int]:
    """The bytes that the model of a folder takes on a GPU, by precision; with the masks of a SAM 2 in it apart.

    Raises ModelError for a damaged folder, or one of an unknown family.
    """
    from crab_core.engine.drawing import masker_for
    from crab_core.registry import FAMILIES

    family = FAMILIES[header.family].load() if header.family in FAMILIES else None
    packed = header.quantized != "none"
    kinds = ("float32", "bfloat16") if packed else ("float32", "bfloat16", "bfloat16 8bit", "bfloat16 4bit")
    totals = {}
    for kind in kinds:
        dtype, _, bits = kind.partition(" ")
        precision = Precision("cuda", dtype, bits or header.quantized)
        totals[kind] = needs_of(folder, precision, family).total
        if header.parts:
            masker = masker_for(header, folder, "sam2", None, precision)
            totals[f"{kind} with masks"] = needs_of(folder, precision, family, masker=masker).total
    return totals


def _told(needs: Needs) -> str:
    if not needs.cache and not needs.masks:
        return amount(needs.total)
    parts = {"weights": needs.weights, "cache": needs.cache, "activations": needs.activations, "SAM 2": needs.masks}
    told = ", ".join(f"{name} {amount(bytes_)}" for name, bytes_ in parts.items() if bytes_)
    return f"{amount(needs.total)} ({told})"


def amount(bytes_: int) -> str:
    """`13.6 GiB`, `24.3 MiB`."""
    return f"{bytes_ / GIB:.1f} GiB" if bytes_ >= GIB / 10 else f"{bytes_ * 1024 / GIB:.1f} MiB"


def changes(precision: Precision) -> Iterator[tuple[str, Precision]]:
    """The changes that take less memory, the one that changes answers least first."""
    half = "float16" if precision.dtype == "float16" else "bfloat16"
    if precision.dtype == "float32":
        yield f"--dtype {half}", replace(precision, dtype=half)
    for bits in ("8bit", "4bit") if precision.quantize == "none" else ():
        yield f"--quantize {bits}", replace(precision, quantize=bits)
        if precision.dtype == "float32":
            yield f"--quantize {bits} --dtype {half}", replace(precision, quantize=bits, dtype=half)


def _cure(precision: Precision, needs: Callable[[Precision], Needs], room: int) -> str:
    for words, changed in changes(precision):
        if (needed := needs(changed).total) <= room:
            return f"Use {words}: it needs about {amount(needed)}."
    least = min([needs(precision).total, *(needs(changed).total for _, changed in changes(precision))])
    return (
        f"No precision makes it fit (the least is {amount(least)}): close other programs, "
        "use a smaller --model, or a machine with more memory."
    )


def parse_bytes(text: str) -> int:
    """`6GiB`, `800 MB`, `7.5GiB` as bytes; raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B)\s*", text)
    if match is None or float(match[1]) == 0:
        raise UsageError(f"'{text}' is no amount of memory", hint="Write a number and a unit, such as 6GiB or 800MB.")
    power = 1 + "KMGT".index(match[2][0])
    return int(float(match[1]) * (1024 if "i" in match[2] else 1000) ** power)


def estimate_bytes(folder: Path, precision: Precision) -> int:
    """About how many bytes the weights and the activations of a model folder take."""
    parameters = sum(parameters_of(path) for path in sorted(folder.glob("*.safetensors")))
    each = BYTES[precision.dtype]
    if precision.quantize != "none":
        each = QUANTISED_SHARE * QUANTISED_BYTES[precision.quantize] + (1 - QUANTISED_SHARE) * each
    return math.ceil(parameters * each * MARGIN)


def parameters_of(path: Path) -> int:
    """The number of values in a safetensors file, read from its header.

    Raises ModelError if the file is no safetensors file.
    """
    hint = "The file is damaged: install or convert the model again."
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LONGEST_HEADER:
                raise ValueError("header too long")
            text = file.read(length)
        if len(text) < length:
            raise ValueError("header cut off")
        header = json.loads(text)
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
        return sum(math.prod(shape) for shape in shapes)
    except OSError as err:
        raise ModelError(f"cannot read the weights '{path}': {err.strerror}", hint="Check its permissions.") from err
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as err:
        raise ModelError(f"the weights '{path}' are no safetensors file", hint=hint) from err


def available_bytes(device: str) -> int | None:
    """Free memory of a device; None where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    free = [bytes_ for bytes_ in (_free_of_system(), _free_of_container()) if bytes_ is not None]
    return min(free, default=None)


def limit_gpu(device: str, max_bytes: int | None) -> None:
    """Holds torch to that much of a GPU; memory beyond it is as if it were not there."""
    if max_bytes is not None and device.startswith("cuda"):
        import torch

        total = int(torch.cuda.mem_get_info(device)[1])
        torch.cuda.set_per_process_memory_fraction(min(1.0, max_bytes / total), device)


def _free_of_system(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None
    return None


def _free_of_container(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves; a page cache that the kernel would give back is not counted as used."""
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return limit - used + int(stat.get("inactive_file", 0))
    except (OSError, ValueError):
        return None


@contextmanager
def memory_told(what: str) -> Iterator[None]:
    """Turn running out of memory, on any device, into a ResourceError that says while doing what."""
    try:
        yield
    except Exception as err:
        if not is_out_of_memory(err):
            raise
        raise ResourceError(
            f"memory ran out while {what}",
            hint="Close other programs, use --quantize 4bit, a smaller --model, or a machine with more memory.",
        ) from err


def is_out_of_memory(err: BaseException) -> bool:
    """True for Python's MemoryError and for torch's errors of a full GPU or a failed CPU allocation."""
    told = str(err)
    return (
        isinstance(err, MemoryError)
        or type(err).__name__ == "OutOfMemoryError"
        or (isinstance(err, RuntimeError) and ("can't allocate memory" in told or "not enough memory" in told))
    )
