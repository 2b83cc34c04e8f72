"""`crab report`: one page about a folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.output import Output
from crab_core.errors import InputError, ResourceError, UsageError

NAME = "report.html"


def command(
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", parser=options.a_path, help="The --out folder of a run, or a folder of such folders."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            parser=options.a_path,
            help="Where the page goes.",
            show_default="RESULTS/report.html",
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            "--clips", metavar="DIR", parser=options.a_path, help="Where the clips are now, if they were moved."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, max=10_000, help="Answers shown one by one; all are counted.")
    ] = 100,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that is there.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make one self-contained page of a folder of results, without a model.

    Takes what infer, localize, segment, scan and visualize-heads write into --out DIR. Prints the path
    of the page; --json prints its numbers. Exits 1 if something in the folder could not be read.

    \b
    Examples:
      crab report results
      crab report results -o page.html --limit 20
      crab report shards --clips /data/clips --json
    """
    from crab_core.batch.gather import gather
    from crab_core.batch.report import document_of, report_page

    output = Output(quiet=quiet, as_json=json)
    if clips is not None and not clips.is_dir():
        raise InputError(f"--clips '{clips}' is no folder", hint="Give the folder that the run was about.")
    if not results.is_dir() and out is None:
        gather(results)  # says what is wrong with it
    path = out or results / NAME
    if path.is_dir():
        raise UsageError(f"--out '{path}' is a folder", hint=f"Give a file: --out {path / NAME}")
    if path.exists() and not overwrite:
        raise UsageError(f"'{path}' is there already", hint="Choose another --out, or replace it: --overwrite")
    found = gather(results, limit)
    if clips is not None:
        found.clips.insert(0, clips)
    with bars(output) as listen:
        page = report_page(found, listen)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page.encode("utf-8", "backslashreplace"))
    except OSError as err:
        raise ResourceError(f"cannot write '{path}': {err.strerror}", hint="Choose another --out.") from err
    document = document_of(found)
    for problem in document["problems"]:
        output.note(f"not read: {problem}")
    if json:
        output.document(document)
    else:
        typer.echo(path)
    if found.broken:
        raise typer.Exit(1)
