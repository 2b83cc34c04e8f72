"""What is known of a model that has a name, without opening any of its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crab_core.errors import ModelError

Status = Literal["embedded", "import it"]
HOME = "CRAB_MODELS"  # the environment variable that says where imported models lie


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository of the hub.

    `gigabytes` (1e9 bytes) is what its publisher shows, 0 if nobody says; `sha256` is empty where none is published:
    then the hub's own is compared, or the first pull's is recorded. `mirrors` are other places of the same file, as
    (repository, file).
    """

    name: str
    gigabytes: float = 0.0
    sha256: str = ""
    mirrors: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One published checkpoint that a model is made of: a repository of the hub and the files needed of it.

    `role` names the option of `crab models import` that takes it, `whole` whether that takes the folder of all files.
    """

    repository: str
    licence: str
    files: tuple[RemoteFile, ...] = ()
    role: str = ""
    whole: bool = False
    gated: bool = False
    optional: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the catalogue.

    `embedded` is its folder inside this package, None if its weights have to be fetched and imported first.
    `memory_gib` is what the weights alone take by precision, `scores` what its authors report, with the measure's name.
    """

    name: str
    family: str
    summary: str
    licence: str
    tasks: tuple[str, ...]
    status: Status
    sources: tuple[Source, ...] = ()
    memory_gib: tuple[tuple[str, float], ...] = ()
    scores: tuple[tuple[str, float], ...] = ()
    paper: str = ""
    embedded: str | None = None

    def folder(self) -> Path:
        """Where the model folder lies; raises ModelError if it is not on this machine."""
        if self.embedded is None:
            return self._imported()
        folder = Path(__file__).parents[1] / self.embedded
        if not folder.is_dir():
            raise ModelError(
                f"the weights of '{self.name}' are not in this installation: no folder '{folder}'",
                hint="Install the package again, or train it: crab train examples/train/mini.yaml",
            )
        return folder

    def home(self) -> Path:
        """Where an imported model of that name lies: below `CRAB_MODELS`, else below the user's data folder."""
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        return Path(os.environ.get(HOME) or Path(data) / "crab" / "models") / self.name

    def _imported(self) -> Path:
        if (self.home() / "crab.json").is_file():
            return self.home()
        raise ModelError(
            f"the model '{self.name}' is not on this machine: there is no folder '{self.home()}'",
            hint=f"Import its published files: crab models import {self.name} --help, or use --model mini",
        )
