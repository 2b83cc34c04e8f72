"""Optional packages are imported where they are used, through one function with one sentence."""

from __future__ import annotations

import importlib
from types import ModuleType

from crab_core.errors import MissingExtra


def need(module: str, *, extra: str, why: str) -> ModuleType:
    """The module, or an error that names the extra: `need("ray", extra="ray", why="--engine ray")`.

    Raises MissingExtra if the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package = module.partition(".")[0]
        raise MissingExtra(
            f"{why} needs the package '{package}'", hint=f"Install it with: pip install 'crab-av[{extra}]'"
        ) from err
