"""Tensors of published files that are read only when they are needed: safetensors, and `.bin` or `.pt` without code.

A file comes from a stranger: nothing in it is executed, and an archive that unpacks to more than it holds is refused.
"""

from __future__ import annotations

import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_core.errors import ModelError

if TYPE_CHECKING:
    import torch

WHOLE = ("model.safetensors", "pytorch_model.bin")  # the one file of a small model; a large one has an index beside it
INNER = ("model", "state_dict")  # where some files keep their tensors
AGAIN = "Fetch the file again."
DTYPES: Mapping[str, str] = {  # safetensors' names and torch's
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
UNPACKED_SHARE = 1.5  # an archive of tensors is not compressed; one that grows by more is a trap


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that is not in memory; `path` is the file that it comes from, `read` brings it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    path: Path
    read: Callable[[], torch.Tensor]

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    def squeezed(self) -> LazyTensor:
        """The same without a first axis of length 1."""
        return replace(self, shape=self.shape[1:], read=lambda: self.read()[0])


Tensors = Mapping[str, LazyTensor]


def open_folder(folder: Path) -> tuple[dict[str, LazyTensor], dict[str, Any]]:
    """All tensors of a published model's folder, of one file or of many with an index, and its config.json.

    Raises ModelError if the folder, a file that its index names, or the config is missing or damaged.
    """
    config = read_json(folder / "config.json")
    for whole in WHOLE:
        index = folder / f"{whole}.index.json"
        if index.is_file():
            return dict(_of_index(folder, index)), config
        if (folder / whole).is_file():
            return open_file(folder / whole), config
    raise ModelError(f"the folder '{folder}' has no weights", hint=f"It should hold {' or '.join(WHOLE)}, or an index.")


def open_file(path: Path) -> dict[str, LazyTensor]:
    """The tensors of a file; a file with `model` or `state_dict` in it gives what lies there.

    Raises ModelError if the file is missing, cut off, or holds something other than tensors.
    """
    return _of_safetensors(path) if path.suffix == ".safetensors" else _of_pickle(path)


def extra_of(path: Path) -> dict[str, Any]:
    """What a `.pt` file says beside its tensors, such as `cfg`; empty if nothing."""
    content = _unpickled(path)
    return {key: value for key, value in content.items() if isinstance(value, dict) and key not in INNER}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises ModelError if it is missing or no JSON object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ModelError(f"cannot read '{path}': {err.strerror}", hint="Check the path.") from err
    except ValueError as err:
        raise ModelError(f"'{path}' is no JSON: {err}", hint=AGAIN) from err
    if not isinstance(document, dict):
        raise ModelError(f"'{path}' holds no JSON object", hint=AGAIN)
    return document


def _of_index(folder: Path, index: Path) -> Iterator[tuple[str, LazyTensor]]:
    """The tensors of every file that the index names, each as often as the index says: once."""
    told = read_json(index).get("weight_map")
    places = told if isinstance(told, dict) else {}
    names = sorted({str(name) for name in places.values()})
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(f"'{index}' names no files beside it", hint=AGAIN)
    found: dict[str, LazyTensor] = {}
    for name in names:
        if not (folder / name).is_file():
            raise ModelError(f"'{folder / name}' is missing: '{index.name}' names it", hint="Fetch all files.")
        found |= open_file(folder / name)
    lacking = sorted(set(places) - set(found))
    if lacking:
        raise ModelError(f"the files beside '{index}' lack '{lacking[0]}', which it names", hint="Fetch all files.")
    yield from found.items()


def _of_safetensors(path: Path) -> dict[str, LazyTensor]:
    from safetensors import SafetensorError, safe_open

    def reader(key: str) -> Callable[[], torch.Tensor]:
        def read() -> torch.Tensor:
            with safe_open(path, framework="pt") as again:
                return again.get_tensor(key)

        return read

    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - the file is no mapping
            return {
                key: LazyTensor(tuple(one.get_shape()), _dtype(one.get_dtype(), path), path, reader(key))
                for key, one in slices.items()
            }
    except SafetensorError as err:
        raise ModelError(f"'{path}' is damaged: {err}", hint=AGAIN) from err
    except OSError as err:
        raise ModelError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err


def _of_pickle(path: Path) -> dict[str, LazyTensor]:
    import torch

    content = _state(_unpickled(path))
    strange = [key for key, value in content.items() if not isinstance(value, torch.Tensor)]
    if strange or not content:
        told = f"'{strange[0]}' is no tensor" if strange else "it is empty"
        raise ModelError(f"'{path}' is no file of weights: {told}", hint="Give the publisher's own file.")

    close_files()  # what was read from a file of that name before may be another one

    def reader(key: str) -> Callable[[], torch.Tensor]:
        return lambda: _opened(path)[key]

    return {key: LazyTensor(tuple(t.shape), t.dtype, path, reader(key)) for key, t in content.items()}


@lru_cache(maxsize=1)
def _opened(path: Path) -> dict[str, Any]:
    """The file that was opened last stays open: opening it anew for each of a thousand tensors takes a minute."""
    return _state(_unpickled(path))


def close_files() -> None:
    """Lets go of what reading has opened."""
    _opened.cache_clear()


def _state(content: dict[str, Any]) -> dict[str, Any]:
    return next((content[name] for name in INNER if isinstance(content.get(name), dict)), content)


def _unpickled(path: Path) -> dict[str, Any]:
    """The dictionary in a `.bin` or `.pt`, tensors mapped from the disk where the format allows it."""
    import pickle

    import torch

    try:
        mapped = _is_plain_archive(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd pickles; what cannot be read is told below
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as err:
        raise ModelError(
            f"'{path}' is damaged or holds something other than tensors, and is not opened",
            hint="Give the publisher's own file; code in a file of weights is never run.",
        ) from err
    except (RuntimeError, EOFError, ValueError, KeyError) as err:
        raise ModelError(f"'{path}' is damaged: {str(err).splitlines()[0]}", hint=AGAIN) from err
    except OSError as err:
        raise ModelError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err
    if not isinstance(content, dict):
        raise ModelError(f"'{path}' is no file of weights", hint="Give the publisher's own file.")
    return content


def _is_plain_archive(path: Path) -> bool:
    """True for the archive that torch writes today; raises ModelError if it unpacks to far more than it is."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except zipfile.BadZipFile as err:
        raise ModelError(f"'{path}' is damaged: {err}", hint=AGAIN) from err
    if unpacked > UNPACKED_SHARE * path.stat().st_size:
        raise ModelError(
            f"'{path}' would unpack to {unpacked:,} bytes and is not opened", hint="Give the publisher's own file."
        )
    return True


def _dtype(name: str, path: Path) -> torch.dtype:
    import torch

    if name not in DTYPES:
        raise ModelError(f"'{path}' has numbers of the kind '{name}', which no published model has", hint=AGAIN)
    return getattr(torch, DTYPES[name])
