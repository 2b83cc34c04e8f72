"""A model's name, or a path, becomes a model folder. Reads no weights and imports no torch."""

from __future__ import annotations

import os
from pathlib import Path

from crab_core.errors import ModelError, UsageError
from crab_core.registry import suggest

HEADER = "crab.json"


def folder_of(name_or_folder: str | Path) -> Path:
    """The folder of a catalogue name, or the folder that a path names.

    Raises UsageError for an empty name, ModelError for an unknown one, for a folder without a header, for a model that
    is not on this machine.
    """
    from crab_core.weights.catalog import MODELS

    if name_or_folder == "":
        raise UsageError("the model's name is empty", hint="Every model by name: crab models list")
    if isinstance(name_or_folder, str) and name_or_folder in MODELS:
        return MODELS[name_or_folder].folder()
    folder = Path(name_or_folder)
    if folder.is_dir():
        return _with_header(folder)
    if _is_path(name_or_folder):
        raise ModelError(
            f"no model folder '{folder}'", hint="Give a folder with a crab.json, or a name of: crab models list"
        )
    hint = suggest(str(name_or_folder), list(MODELS), kind="model")
    raise ModelError(f"no model is called '{name_or_folder}'", hint=hint)


def _is_path(name_or_folder: str | Path) -> bool:
    return isinstance(name_or_folder, Path) or os.sep in name_or_folder


def _with_header(folder: Path) -> Path:
    if not (folder / HEADER).is_file():
        raise ModelError(
            f"the folder '{folder}' is no model: it has no {HEADER}", hint="Every model by name: crab models list"
        )
    return folder
