"""A model folder: a header that says what the model is, its weights, and whatever files its family needs.

    crab.json           name, family, config, licence, wording profile, how it was trained, sha256 of every other file
    model.safetensors   tensors by name; stored in half precision or not, computed in the dtype that is asked for
    domain.safetensors  what the training's clips were like, if that was measured; no part of the network
    tokenizer.json      and other small files
    sam2/               a part: another network that works with this one, in the files of its publisher

A folder comes from a stranger: names, sizes and hashes are checked, nothing in it is executed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_core.errors import ModelError, ResourceError
from crab_core.files import replace_file

if TYPE_CHECKING:
    import torch

HEADER = "crab.json"
WEIGHTS = "model.safetensors"
DOMAIN = "domain.safetensors"
FORMAT = 1
CHUNK_BYTES = 1 << 20
ALWAYS_HASHED_BYTES = 64 << 20  # below this a hash costs under 0.1 s; larger files are hashed by `verify`
PACKINGS = ("none", "4bit", "8bit")
TENSORS = ".safetensors"
_TEXTS = ("name", "family", "licence", "profile", "note", "quantized")
CHECK = "Check the disk."
REPAIR = "Install the package again, or fetch the model folder again."


@dataclass(frozen=True, slots=True)
class FileFact:
    """What a file must be."""

    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or type(self.bytes) is not int or self.bytes < 0:
            raise ValueError(f"a file needs a sha256 and a size in bytes, got {self.sha256!r} and {self.bytes!r}")


@dataclass(frozen=True, slots=True)
class Header:
    """What `crab.json` says.

    `config` belongs to the family. `profile` names the wording that the model learnt, `tasks` what it was trained on.
    `note`, if any, is told with every result. `quantized` says how the LLM's linears are packed: `none`, `4bit` or
    `8bit`. `training` holds the recipe, seeds, generator hash and metrics. `parts` are the networks in folders of their
    own, by the folder's name, with what is known of each, such as its `licence`; their files stand in `files` as
    `sam2/config.json`.
    """

    name: str
    family: str
    config: Mapping[str, Any]
    licence: str
    profile: str = "train"
    note: str = ""
    tasks: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, FileFact] = field(default_factory=dict)
    format: int = FORMAT
    quantized: str = "none"
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def weights(self) -> tuple[str, ...]:
        """The names of the files with the network's own tensors, sorted; those of its parts are not among them."""
        return tuple(
            sorted(name for name in self.files if name.endswith(TENSORS) and "/" not in name and name != DOMAIN)
        )

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format {self.format!r} is not {FORMAT}: it needs another version of crab")
        no_texts = [name for name in _TEXTS if not isinstance(getattr(self, name), str)]
        if no_texts or not all(isinstance(task, str) for task in self.tasks):
            raise ValueError(f"{', '.join(no_texts) or 'tasks'} must be text")
        if self.quantized not in PACKINGS:
            raise ValueError(f"quantized '{self.quantized}' is none of {', '.join(PACKINGS)}")
        unsafe = [name for name in self.files if not _is_safe(name, self.parts)]
        if unsafe:
            raise ValueError(f"file names {unsafe} are neither plain names nor names in a part")
        if not all(isinstance(value, str) for told in self.parts.values() for value in told.values()):
            raise ValueError("what is known of parts must be text")

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Header:
        """The header that `to_dict` wrote; raises ValueError, TypeError or KeyError for anything else."""
        values = dict(document)
        values["files"] = {name: FileFact(**fact) for name, fact in values.get("files", {}).items()}
        if isinstance(values.get("tasks"), str):
            raise ValueError(f"tasks must be a list, got '{values['tasks']}'")
        values["tasks"] = tuple(values.get("tasks", ()))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        document = dataclasses.asdict(self)
        if not self.parts:
            del document["parts"]  # older versions read the header of a model without them
        return document


def _is_safe(name: str, parts: Mapping[str, object]) -> bool:
    """True for a plain name, and for one in the folder of a part."""
    part, slash, file = name.rpartition("/")
    plain = bool(file) and file not in (HEADER, ".", "..") and "\\" not in name
    return plain and (not slash or (part in parts and part not in ("", ".", "..") and "/" not in part))


def read_header(folder: Path) -> Header:
    """The header of a model folder; raises ModelError if there is none or it cannot be understood."""
    path = folder / HEADER
    try:
        return Header.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as err:
        raise ModelError(f"cannot read '{path}': {err.strerror}", hint="Give a folder with a crab.json.") from err
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise ModelError(f"'{path}' is no header of a model: {err}", hint=REPAIR) from err


def verify(folder: Path) -> Header:
    """The header, after every file's size and sha256 were compared; raises ModelError naming the first wrong file."""
    header = read_header(folder)
    for name, fact in header.files.items():
        _check_file(folder / name, fact, hashed=True)
    return header


def check_files(folder: Path, header: Header) -> None:
    """The quick form of `verify` that every load does: all sizes, and the hashes of files below 64 MiB."""
    for name, fact in header.files.items():
        _check_file(folder / name, fact, hashed=fact.bytes < ALWAYS_HASHED_BYTES)


def read_tensors(folder: Path, header: Header, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """All tensors of the folder, floating ones in `dtype`; raises ModelError if a file is missing or damaged."""
    check_files(folder, header)
    tensors: dict[str, torch.Tensor] = {}
    for name in header.weights:
        tensors |= _read_file(folder / name, dtype)
    return tensors


def read_domain(folder: Path, header: Header) -> dict[str, torch.Tensor]:
    """The tensors of `domain.safetensors`, float32; none if the model has no such file.

    Raises ModelError if it is missing or damaged.
    """
    import torch

    if DOMAIN not in header.files:
        return {}
    _check_file(folder / DOMAIN, header.files[DOMAIN], hashed=True)
    return _read_file(folder / DOMAIN, torch.float32)


def write_domain(folder: Path, tensors: Mapping[str, torch.Tensor]) -> Header:
    """Gives a model folder a `domain.safetensors`, in the place of one that it has; gives its new header.

    The header does not name the file while it changes, so that a killed run leaves a folder that loads. Raises
    ModelError if the folder is none, ResourceError if the disk does not take it.
    """
    from safetensors.torch import save

    header = read_header(folder)
    others = {name: fact for name, fact in header.files.items() if name != DOMAIN}
    data = save({name: one.contiguous() for name, one in tensors.items()})
    fact = FileFact(hashlib.sha256(data).hexdigest(), len(data))
    fresh = dataclasses.replace(header, files={**others, DOMAIN: fact})
    if DOMAIN in header.files:
        replace_header(folder, dataclasses.replace(header, files=others))
    replace_file(folder / DOMAIN, data, hint=CHECK)
    replace_header(folder, fresh)
    return fresh


def replace_header(folder: Path, header: Header) -> None:
    """Puts a header in the place of a folder's own, at once; raises ResourceError if the disk does not take it."""
    replace_file(folder / HEADER, _text_of(header), hint=CHECK)


def _text_of(header: Header) -> bytes:
    return (json.dumps(header.to_dict(), indent=1, ensure_ascii=False) + "\n").encode()


def _read_file(path: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The tensors of one file, floating ones in `dtype`."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, torch.Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - the file is no mapping
                tensor = file.get_tensor(key)
                tensors[key] = tensor.to(dtype) if tensor.is_floating_point() else tensor
    except (SafetensorError, OSError) as err:
        raise ModelError(f"the weights '{path}' cannot be read: {err}", hint=REPAIR) from err
    return tensors


def write_folder(
    folder: Path, header: Header, tensors: Mapping[str, torch.Tensor], files: Mapping[str, bytes] | None = None
) -> Header:
    """Writes a model folder in one step: it is there complete, or as it was before. Gives the header with its hashes.

    `files` are further files by name. An older folder of that name is replaced. Raises ResourceError if the disk does
    not take it.
    """
    from safetensors.torch import save

    contents = {WEIGHTS: save({name: tensor.contiguous() for name, tensor in tensors.items()}), **(files or {})}
    facts = {name: FileFact(hashlib.sha256(data).hexdigest(), len(data)) for name, data in contents.items()}
    complete = dataclasses.replace(header, files=facts)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as parking:
            fresh = Path(parking) / "new"
            fresh.mkdir()
            for name, data in {**contents, HEADER: _text_of(complete)}.items():
                (fresh / name).write_bytes(data)
            swap_in(fresh, folder, Path(parking) / "old")
    except OSError as err:
        raise ResourceError(
            f"cannot write the model folder '{folder}': {err.strerror}", hint="Check the disk."
        ) from err
    return complete


def swap_in(fresh: Path, folder: Path, aside: Path) -> None:
    """Puts a finished folder in its place; an older one is moved aside first and brought back if that fails."""
    if folder.exists():
        folder.rename(aside)
    try:
        fresh.rename(folder)
    except OSError:
        if aside.exists():
            shutil.move(aside, folder)
        raise


def _check_file(path: Path, fact: FileFact, *, hashed: bool) -> None:
    try:
        size = path.stat().st_size
        if size != fact.bytes:
            raise ModelError(f"'{path}' is damaged: {size} bytes instead of {fact.bytes}", hint=REPAIR)
        if hashed and (found := sha256_of(path)) != fact.sha256:
            raise ModelError(f"'{path}' is damaged: sha256 '{found[:12]}…' is not '{fact.sha256[:12]}…'", hint=REPAIR)
    except OSError as err:
        raise ModelError(f"cannot read '{path}': {err.strerror}", hint=REPAIR) from err


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
