"""What is known of a model that has a name, without opening any of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crab_core.errors import ModelError

Status = Literal["embedded", "not importable yet"]


@dataclass(frozen=True, slots=True)
class Source:
    """One published checkpoint that a model is made of."""

    repository: str
    licence: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model of the catalogue.

    `embedded` is its folder inside this package, None if its weights have to be fetched and converted first.
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
            raise ModelError(
                f"the model '{self.name}' is {self.status}: this version cannot convert its published checkpoints",
                hint="Use --model mini, or give a model folder of your own: --model FOLDER",
            )
        folder = Path(__file__).parents[1] / self.embedded
        if not folder.is_dir():
            raise ModelError(
                f"the weights of '{self.name}' are not in this installation: no folder '{folder}'",
                hint="Install the package again, or train it: crab train examples/train/mini.yaml",
            )
        return folder
