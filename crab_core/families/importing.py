"""What every import of a release does: files of bearable size, strict names, a record of what was read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.errors import ModelError, WeightsMismatch

if TYPE_CHECKING:
    from crab_core.nn.stored import StoredModule
    from crab_core.weights.lazy import LazyTensor

SHARD_BYTES = 2 << 30


def sharded(tensors: Mapping[str, LazyTensor], stem: str) -> dict[str, dict[str, LazyTensor]]:
    """The tensors by file, in the order of the files that they come from, cut where one would grow beyond 2 GiB."""
    shards: list[dict[str, LazyTensor]] = [{}]
    size = 0
    for name, lazy in sorted(tensors.items(), key=lambda item: (str(item[1].path), item[0])):
        if shards[-1] and size + lazy.bytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = lazy
        size += lazy.bytes
    digits = max(2, int(math.log10(len(shards))) + 1)
    return {f"{stem}-{number:0{digits}}.safetensors": shard for number, shard in enumerate(shards, start=1)}


def check_names(files: Mapping[str, Mapping[str, LazyTensor]], model: StoredModule, adapter: Path) -> None:
    """Every tensor of a network without weights is there once, with its shape, and none that it does not know.

    `adapter` is the file that is told where tensors are lacking. Raises WeightsMismatch, or ModelError for a shape.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in model.tensors().items()}
    given = {name: lazy for tensors in files.values() for name, lazy in tensors.items()}
    lacking, unknown = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if lacking or unknown:
        where = str(given[unknown[0]].path) if unknown else str(adapter)
        raise WeightsMismatch(where, lacking, unknown)
    for name, lazy in given.items():
        if lazy.shape != expected[name]:
            raise ModelError(
                f"'{name}' in '{lazy.path}' is {lazy.shape} and the network needs {expected[name]}",
                hint="The files belong to different models.",
            )


def sizes_of(path: Path) -> dict[str, int]:
    """The names and sizes of the files of weights at a path."""
    kinds = (".safetensors", ".bin", ".pt")
    files = sorted(one for one in path.iterdir() if one.suffix in kinds) if path.is_dir() else [path]
    return {one.name: one.stat().st_size for one in files}
