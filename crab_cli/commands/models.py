"""`crab models`: what can be loaded, and what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from crab_cli import options

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """List models and tell about them."""


@app.command("list")
def list_models(json: options.Json = False) -> None:
    """List every model that has a name.

    \b
    Examples:
      crab models list
      crab models list --json
      crab models list | cut -f1
    """
