"""`crab models domain`: measure what a model's training clips are like, so that answers tell when a clip is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.output import Output


def domain(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="A model of the family crab: its folder.", show_default=False)
    ],
    clips: Annotated[
        Path | None,
        typer.Option("--clips", metavar="DIR", help="Videos it was trained on; the generated world's without."),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Clips of the generated world.")] = 2000,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure what a model's training pictures are like and put that into its folder; prints the new file.

    Answers about a clip with other pictures then carry a note. Measure again when the visual encoder has learnt.

    \b
    Examples:
      crab models domain runs/mini/model
      crab models domain runs/mini/model --count 1000 --quiet
      crab models domain runs/dogs/model --clips data/dogs
    """
    from crab_core.batch.plan import of_folder
    from crab_core.engine.resolve import folder_of
    from crab_core.train.domain import measure_files, measure_world
    from crab_core.types import Request
    from crab_core.weights.folder import DOMAIN

    output = Output(quiet=quiet, verbose=verbose)
    place = folder_of(folder)
    files = [one.request.clip for one in of_folder(clips, Request(clips)).items] if clips is not None else []
    with bars(output) as listen:
        if clips is not None:
            measure_files(place, files, on_progress=listen)
        else:
            measure_world(place, count, on_progress=listen)
    typer.echo(place / DOMAIN)
