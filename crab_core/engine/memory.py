"""Will a model fit? An estimate from the weights' headers, made before anything is loaded.

The estimate is weights in the dtype of computing, times a margin for activations and the key-value cache.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crab_core.errors import ModelError, ResourceError
from crab_core.families._base import Precision

GIB = 2**30
BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
QUANTISED_BYTES = {"4bit": 0.56, "8bit": 1.05}  # with the scales; about 90 % of the weights are quantised
QUANTISED_SHARE = 0.9
MARGIN = 1.2  # activations and cache of a clip and a few hundred tokens
LONGEST_HEADER = 100 * 2**20  # bytes; safetensors' own limit


def check_fits(folder: Path, precision: Precision) -> int:
    """The bytes that the model of a folder will need; raises ResourceError if there are not so many."""
    needed = estimate_bytes(folder, precision)
    free = available_bytes(precision.device)
    if free is not None and needed > free:
        raise ResourceError(
            f"the model in '{folder}' needs about {needed / GIB:.1f} GiB and '{precision.device}' has "
            f"{free / GIB:.1f} GiB free ({precision.dtype}, quantize {precision.quantize})",
            hint=_cure(precision),
        )
    return needed


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


def _cure(precision: Precision) -> str:
    if precision.quantize == "none":
        return "Use --quantize 4bit, a smaller --model, or a machine with more memory."
    return "Close other programs, use a smaller --model, or a machine with more memory."


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
