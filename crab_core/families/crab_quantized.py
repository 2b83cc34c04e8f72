"""A network whose LLM has packed linears: loaded one layer at a time, and written as a folder of its own.

Memory never holds the LLM in full precision: a weight is read, packed and let go.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from crab_core.errors import ModelError, UsageError
from crab_core.nn.stored import StoredModule
from crab_core.progress import Listener, Progress, ignore
from crab_core.weights.folder import REPAIR, Header, check_files, read_header
from crab_core.weights.lazy import LazyTensor, open_file
from crab_core.weights.quantize import Place, linears, packed, packed_tensors, stats_names
from crab_core.weights.streaming import check_place, write_streamed

if TYPE_CHECKING:
    from crab_core.families._base import Precision

PACKED_BYTES = {"4bit": 1 / 2 + 1 / 64 + 4 / (64 * 256), "8bit": 1.001}  # of a weight, with its scales
Check = Callable[[Mapping[str, torch.Tensor]], None]


def load_quantized(model: StoredModule, folder: Path, header: Header, precision: Precision, check: Check) -> None:
    """Fills a network without weights from its folder, the LLM's linears packed; `check` sees tensors without storage.

    Raises UsageError if the folder is packed in another way than asked for, what `load_tensors` raises for tensors
    that do not fit, ModelError for a damaged packed weight.
    """
    kind = _kind(folder, header, precision)
    check_files(folder, header)
    found = {name: lazy for file in header.weights for name, lazy in open_file(folder / file).items()}
    places = _places(model)
    shapes = {name: lazy.shape for name, lazy in found.items()}
    if header.quantized != "none":
        shapes = _unpacked_shapes(shapes, places, header.quantized)
    check({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    model.check_shapes(shapes, str(folder))
    dtype = getattr(torch, precision.dtype)
    weights = {f"{name}.weight" for name in places}
    others = [name for name in shapes if name not in weights]
    model.take_tensors({name: _read(found[name], dtype, precision.device) for name in others})
    for name, place in places.items():
        stats = {one: found[one].read() for one in stats_names(name, kind)} if header.quantized != "none" else None
        place.put(_packed(place, kind, dtype, precision.device, found[f"{name}.weight"], stats))


def quantize_folder(model: StoredModule, folder: Path, kind: str, out: Path, on_progress: Listener = ignore) -> Header:
    """Writes the model of `folder` to `out` with the LLM's linears packed; `model` is its network without weights.

    The rest stays as it was stored. Raises UsageError if the model is packed already or `out` is taken.
    """
    check_place(out)
    header = read_header(folder)
    if header.quantized != "none":
        raise UsageError(f"the model in '{folder}' is {header.quantized} already", hint="Use it as it is.")
    check_files(folder, header)
    stored = {file: open_file(folder / file) for file in header.weights}
    shapes = {name: lazy.shape for tensors in stored.values() for name, lazy in tensors.items()}
    model.check_shapes(shapes, str(folder))
    places = _places(model)
    files = _PackedFiles(stored, places, kind, on_progress)
    others = {name: folder / name for name in header.files if name not in stored}
    written = dataclasses.replace(header, quantized=kind)
    expected = files.expected_bytes()
    return write_streamed(out, written, files, {}, on_progress, copies=others, expected_bytes=expected)


class _PackedFiles(Mapping[str, Mapping[str, LazyTensor]]):
    """Files of tensors by name; the linears of one are packed when it is asked for, so that memory holds one file's."""

    def __init__(
        self, stored: Mapping[str, Mapping[str, LazyTensor]], places: Mapping[str, Place], kind: str, listener: Listener
    ) -> None:
        self._stored, self._places, self._kind, self._listener = stored, places, kind, listener
        self._done = 0

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, file: str) -> Mapping[str, LazyTensor]:
        made: dict[str, LazyTensor] = {}
        for name, lazy in self._stored[file].items():
            path = name.removesuffix(".weight")
            if path not in self._places:
                made[name] = lazy
                continue
            made |= _packed_lazily(path, self._places[path], self._kind, lazy)
            self._done += 1
            self._listener(Progress("quantize", self._done, len(self._places), "layers"))
        return made

    def expected_bytes(self) -> int:
        """About what all files will take, without packing anything."""
        share = PACKED_BYTES[self._kind]
        tensors = [(name, lazy) for found in self._stored.values() for name, lazy in found.items()]
        packed_ones = {name for name, _ in tensors if name.removesuffix(".weight") in self._places}
        each = (math.prod(lazy.shape) * share if name in packed_ones else lazy.bytes for name, lazy in tensors)
        return math.ceil(sum(each))


def _kind(folder: Path, header: Header, precision: Precision) -> str:
    if header.quantized == "none":
        return precision.quantize
    if precision.quantize not in ("none", header.quantized):
        raise UsageError(
            f"the model in '{folder}' is {header.quantized}, and --quantize asks for {precision.quantize}",
            hint="Leave --quantize out, or use the model that it was made from.",
        )
    return header.quantized


def _places(model: StoredModule) -> dict[str, Place]:
    """The LLM's linears by the name that they have in a model folder."""
    prefix, llm = model.decoder()
    named = {f"{prefix}.{place.path}.weight": place for place in linears(llm)}
    return {model.stored_name(key).removesuffix(".weight"): place for key, place in named.items()}


def _unpacked_shapes(
    shapes: Mapping[str, tuple[int, ...]], places: Mapping[str, Place], kind: str
) -> dict[str, tuple[int, ...]]:
    """The shapes as if nothing were packed; raises ModelError if a packed weight lacks a part or has another size."""
    shapes = dict(shapes)
    for name, place in places.items():
        beside = [one for one in stats_names(name, kind) if shapes.pop(one, None) is None]
        if beside:
            raise ModelError(f"the packed weights lack '{beside[0]}'", hint=REPAIR)
        full = (place.linear.out_features, place.linear.in_features)
        size = math.ceil(math.prod(full) / 2) if kind == "4bit" else math.prod(full)
        if math.prod(shapes.get(f"{name}.weight", ())) == size:
            shapes[f"{name}.weight"] = full
    return shapes


def _read(lazy: LazyTensor, dtype: torch.dtype, device: str) -> torch.Tensor:
    """The tensor where it is needed; what goes to a GPU changes its dtype there, not in the machine's memory."""
    tensor = lazy.read().to(device)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _packed(
    place: Place, kind: str, dtype: torch.dtype, device: str, lazy: LazyTensor, stats: Mapping[str, torch.Tensor] | None
) -> nn.Module:
    try:
        made = packed(place.linear, kind, dtype, device, lazy.read(), stats)
    except (ValueError, KeyError, TypeError, RuntimeError, UnicodeDecodeError) as err:
        if stats is None:
            raise
        raise ModelError(f"a packed weight of '{place.path}' in '{lazy.path}' is damaged: {err}", hint=REPAIR) from err
    state = getattr(made.weight, "quant_state", None)
    full = (place.linear.out_features, place.linear.in_features)
    if stats is not None and state is not None and tuple(state.shape) != full:
        told = f"a packed weight of '{place.path}' in '{lazy.path}' says it is {tuple(state.shape)}, not {full}"
        raise ModelError(told, hint=REPAIR)
    return made


def _packed_lazily(name: str, place: Place, kind: str, lazy: LazyTensor) -> dict[str, LazyTensor]:
    """The parts of one packed weight, in memory."""
    bare = nn.Linear(place.linear.in_features, place.linear.out_features, bias=False, device="meta")
    parts = packed_tensors(name, packed(bare, kind, torch.float32, "cpu", lazy.read()))
    return {key: LazyTensor(tuple(one.shape), one.dtype, lazy.path, _giver(one)) for key, one in parts.items()}


def _giver(tensor: torch.Tensor) -> Callable[[], torch.Tensor]:
    return lambda: tensor
