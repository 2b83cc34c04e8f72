"""`crab train`: a YAML file becomes a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.launch import launch
from crab_cli.output import Output
from crab_core.errors import UsageError

if TYPE_CHECKING:
    from crab_core.train.settings import TrainSettings

PLAN = ("stage", "kind", "steps", "batch", "rate", "learn", "memory", "least time")
RESUMES = ("auto", "never")


def command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", readable=False, help="The run as a YAML file.", show_default=False)
    ],
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")
    ] = [],  # noqa: B006  Typer reads it and never changes it
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where the run lives.", show_default="runs/<config name>"),
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", metavar="DIR", help="Keep what frozen encoders gave for clips of files here."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", metavar="N", min=1, max=1024, help="Share the steps of the run; one a GPU, if any."
        ),
    ] = 1,
    shard: Annotated[
        bool, typer.Option("--shard", help="Share the LLM's layers out over the processes, too (FSDP).")
    ] = False,
    resume: Annotated[
        str,
        typer.Option(
            "--resume", metavar="auto|never", help="Go on where a killed run was, or refuse a folder with a run."
        ),
    ] = "auto",
    no_resume: Annotated[bool, typer.Option("--no-resume", help="The same as --resume never.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the stages will take, and train nothing.")
    ] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Train a model from its own settings file, stage after stage.

    Prints the folder of the finished model, for --model. A run that was killed goes on where it was.

    \b
    Examples:
      crab train examples/train/mini.yaml --dry-run
      crab train examples/train/mini.yaml -o runs/mini
      crab train examples/train/mini.yaml --set seed=1 --set data.clips=2000
    """
    from crab_core.config import load_config
    from crab_core.train.settings import TrainSettings

    if resume not in RESUMES:
        raise UsageError(f"--resume '{resume}' is neither of {' and '.join(RESUMES)}", hint="Leave it out to go on.")
    goes_on = resume == "auto" and not no_resume
    output = Output(quiet=quiet, verbose=verbose)
    if cache is not None:
        overrides = [*overrides, f"data.cache={json.dumps(str(cache))}"]
    if shard:
        overrides = [*overrides, "shard=true"]
    settings = load_config(TrainSettings, config, overrides)
    if dry_run:
        _show_plan(settings, output)
        return

    place = out or Path("runs") / config.stem
    if processes > 1:
        words = ["train", str(config), *(f"--set={one}" for one in overrides), f"--out={place}"]
        words += [] if goes_on else ["--no-resume"]
        words += ["--quiet"] * quiet + ["--verbose"] * verbose
        raise typer.Exit(launch(words, processes))

    from crab_core.train.loop import run

    with bars(output, lines=True) as listen:
        folder = run(config, overrides, out=place, resume=goes_on, on_progress=listen)
    typer.echo(folder)


def _show_plan(settings: TrainSettings, output: Output) -> None:
    """One row a stage, and the sums below it as notes."""
    from crab_core.engine.memory import amount
    from crab_core.train.estimate import plans
    from crab_core.train.reports import clock

    found = plans(settings)
    rows = [
        (one.stage.name, one.stage.kind, str(one.stage.until or one.stage.steps), str(one.stage.batch))
        + (f"{one.stage.rate:g}", f"{one.learning / 1e6:.3g} M", amount(one.memory))
        + ("" if one.least_s is None else clock(one.least_s),)
        for one in found
    ]
    output.rows(PLAN, rows)
    steps = sum(one.stage.until or one.stage.steps for one in found)
    output.note(f"{steps} steps; memory and time are estimates, the time without decoding and encoding of media")
