"""`crab merge`: the output folders of several shards become one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options
from crab_cli.output import Output


def command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="The --out folders of several runs.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder.", show_default=False)],
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Join the results of several runs: each clip once, sorted by name, with its files.

    What failed in one run and was done in another counts as done. Prints the path of the results;
    exits 1 if clips have failed in all.

    \b
    Examples:
      crab merge out/1 out/2 out/3 -o results
      crab merge shards/* -o results
      crab merge old new -o both --json
    """
    from crab_core.batch.journal import ERRORS, RESULTS
    from crab_core.batch.merge import SCHEMA, merge

    output = Output(quiet=quiet, as_json=json)
    merged = merge(folders, out)
    if merged.conflicts:
        output.note(f"{merged.conflicts} clips were done twice with different answers: the first folder's are kept")
    if merged.errors:
        output.note(f"{merged.errors} clips failed: see '{out / ERRORS}'")
    output.note(f"{merged.results} results, {merged.duplicates} duplicates left out, {merged.files} files")
    if json:
        output.document({"schema": SCHEMA, "out": str(out), **asdict(merged)})
    else:
        typer.echo(out / RESULTS)
    if merged.errors:
        raise typer.Exit(1 if merged.results else 3)
