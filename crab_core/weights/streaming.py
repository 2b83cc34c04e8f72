"""A model folder written one tensor at a time: memory holds one tensor, not the model.

The folder is there complete, or as it was before; the same tensors always give the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from crab_core.errors import ModelError, ResourceError, UsageError
from crab_core.progress import Listener, Progress, ignore
from crab_core.weights.folder import HEADER, FileFact, Header, swap_in
from crab_core.weights.lazy import DTYPES, LazyTensor, close_files

ALIGNMENT = 8  # of the header of a safetensors file
MIB = 1 << 20
PIECE_BYTES = 16 * MIB  # written and hashed at once


def write_streamed(
    folder: Path,
    header: Header,
    files: Mapping[str, Mapping[str, LazyTensor]],
    extra: Mapping[str, bytes],
    on_progress: Listener = ignore,
    *,
    copies: Mapping[str, Path] | None = None,
    expected_bytes: int | None = None,
) -> Header:
    """Writes a model folder whose safetensors files are `files`, with `extra` files; gives the header with its hashes.

    A mapping that makes a file's tensors when it is asked for them is asked once for each, and nothing of it is kept;
    `expected_bytes` is then what the tensors will take, which else is added up from them.

    `copies` are files that are taken over byte by byte, by the name that they get, such as `sam2/config.json`. An older
    model folder of that name is replaced when the new one is complete. Raises UsageError if the place is taken by
    something else, ResourceError if the disk is too small, ModelError if a source is damaged.
    """
    check_place(folder)
    if expected_bytes is None:
        expected_bytes = sum(t.bytes for tensors in files.values() for t in tensors.values())
    needed = expected_bytes + sum(map(len, extra.values()))
    copies = copies or {}
    try:
        needed += sum(path.stat().st_size for path in copies.values())
        folder.parent.mkdir(parents=True, exist_ok=True)
        _check_space(folder, needed)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as parking:
            fresh = Path(parking) / "new"
            fresh.mkdir()
            meter = _Meter(needed, on_progress)
            facts = _written(fresh, files, extra, meter)
            facts |= {name: _copied(path, fresh / name, meter) for name, path in copies.items()}
            complete = dataclasses.replace(header, files=dict(sorted(facts.items())))
            text = json.dumps(complete.to_dict(), indent=1, ensure_ascii=False) + "\n"
            (fresh / HEADER).write_text(text, encoding="utf-8")
            swap_in(fresh, folder, Path(parking) / "old")
    except OSError as err:
        raise ResourceError(
            f"cannot write the model folder '{folder}': {err.strerror or err}", hint="Check the disk."
        ) from err
    finally:
        close_files()
    return complete


def check_place(folder: Path) -> None:
    """Raises UsageError if something that is no model lies where the folder should be."""
    if folder.is_dir() and (not any(folder.iterdir()) or (folder / HEADER).is_file()):
        return
    if folder.exists():
        raise UsageError(f"'{folder}' is there and is no model folder", hint="Choose another --out.")


class _Meter:
    """Tells how much is written, in MiB."""

    def __init__(self, total_bytes: int, listener: Listener) -> None:
        self.done, self.total, self.listener = 0, total_bytes, listener

    def add(self, count: int, name: str) -> None:
        self.done += count
        self.listener(Progress("import", self.done // MIB, self.total // MIB, "MiB", name))


def _written(
    folder: Path, files: Mapping[str, Mapping[str, LazyTensor]], extra: Mapping[str, bytes], meter: _Meter
) -> dict[str, FileFact]:
    facts = {}
    for name, data in extra.items():
        (folder / name).write_bytes(data)
        facts[name] = FileFact(hashlib.sha256(data).hexdigest(), len(data))
        meter.add(len(data), name)
    for name in files:  # no variable keeps the tensors of a file while those of the next are made
        facts[name] = write_safetensors(folder / name, files[name], meter.add)
    return facts


def _copied(source: Path, path: Path, meter: _Meter) -> FileFact:
    """The same bytes at another place, a piece in memory at a time."""
    path.parent.mkdir(exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, path.open("wb") as file:
        while part := read.read(PIECE_BYTES):
            file.write(part)
            digest.update(part)
            size += len(part)
            meter.add(len(part), path.name)
    return FileFact(digest.hexdigest(), size)


def write_safetensors(
    path: Path, tensors: Mapping[str, LazyTensor], on_bytes: Callable[[int, str], None] = lambda count, name: None
) -> FileFact:
    """Writes one file in the safetensors format: the length of a JSON header, the header, the tensors' bytes.

    `on_bytes` hears the count and the file's name after each tensor. Raises ModelError if a tensor is not what it was
    announced as, OSError for what the disk does not take.
    """
    head = _header(tensors)
    digest, size = hashlib.sha256(head), len(head)
    with path.open("wb") as file:
        file.write(head)
        for name, lazy in tensors.items():
            data = _bytes_of(name, lazy)
            for start in range(0, len(data), PIECE_BYTES):
                part = data[start : start + PIECE_BYTES]
                file.write(part)
                digest.update(part)
            size += len(data)
            on_bytes(len(data), path.name)
    return FileFact(digest.hexdigest(), size)


def _header(tensors: Mapping[str, LazyTensor]) -> bytes:
    names = {value: key for key, value in DTYPES.items()}
    document: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, lazy in tensors.items():
        kind = names[str(lazy.dtype).removeprefix("torch.")]
        document[name] = {"dtype": kind, "shape": list(lazy.shape), "data_offsets": [at, at + lazy.bytes]}
        at += lazy.bytes
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _bytes_of(name: str, lazy: LazyTensor) -> memoryview:
    import torch

    tensor = lazy.read()
    if tuple(tensor.shape) != lazy.shape or tensor.dtype != lazy.dtype:
        raise ModelError(f"'{name}' in '{lazy.path}' changed while it was read", hint="Import it again.")
    return memoryview(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise ResourceError(
            f"'{folder}' needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free",
            hint="Choose another --out, or make room.",
        )
