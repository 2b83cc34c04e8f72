"""`crab data`: data sets of the project's own making, and files of annotated clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.commands import data_files
from crab_cli.output import Output

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """Make data, check it, and convert that of others."""


app.command("check")(data_files.check)
app.command("convert")(data_files.convert)


@app.command("synth")
def synth(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A new or empty folder.", show_default=False)],
    clips: Annotated[int, typer.Option("--clips", metavar="N", min=1, max=1_000_000, help="How many clips.")] = 10,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**31 - 1, help="Same seed, same clips.")] = 0,
    split: Annotated[
        Literal["train", "val", "test", "demo", "geometry"],
        typer.Option("--split", help="Clips of two splits are never the same."),
    ] = "demo",
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=32, max=2048, help="Width and height in pixels, even.")
    ] = 224,
    fps: Annotated[int, typer.Option("--fps", metavar="N", min=1, max=60, help="Frames a second.")] = 8,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the clips of a folder in use.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write clips of the generated world as mp4, and their labels, questions and answers as JSON lines.

    Prints the path of the labels.

    \b
    Examples:
      crab data synth -o clips
      crab data synth -o clips --clips 100 --seed 7
      crab data synth -o heldout --clips 50 --split test --size 320
    """
    from crab_core.world.moments import describe_pictures
    from crab_core.world.questions import describe
    from crab_core.world.synth import LABELS, Film, synthesize

    film = Film(size=size, fps=fps)
    with bars(Output(quiet=quiet, verbose=verbose)) as listen:
        synthesize(
            out,
            clips,
            seed=seed,
            split=split,
            film=film,
            overwrite=overwrite,
            describe=describe,
            describe_pictures=describe_pictures,
            on_progress=listen,
        )
    typer.echo(out / LABELS)
