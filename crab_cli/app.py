"""The `crab` command: one Typer app, one file a command, every heavy import inside the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from crab_cli.commands import (
    bench,
    data,
    doctor,
    evaluate,
    infer,
    localize,
    merge,
    models,
    report,
    scan,
    segment,
    train,
    visualize_heads,
)
from crab_cli.failures import INTERRUPTED, debugging, told

app = typer.Typer(
    name="crab",
    no_args_is_help=True,
    rich_markup_mode=None,  # examples stay as they are written, and help is there in half the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("infer")(infer.command)
app.command("localize")(localize.command)
app.command("segment")(segment.command)
app.command("scan")(scan.command)
app.command("visualize-heads")(visualize_heads.command)
app.command("report")(report.command)
app.command("merge")(merge.command)
app.command("bench")(bench.command)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command("train")(train.command)
app.command("eval")(evaluate.command)
app.command("doctor")(doctor.command)


def _version(wanted: bool) -> None:
    if wanted:
        from crab_core import __version__

        typer.echo(f"crab {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Understand what is seen and heard in a clip.

    \b
    Examples:
      crab infer clip.mp4 "What is heard first?"
      crab localize clip.mp4
      crab segment clip.mp4 -o masks
      crab doctor
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line with these arguments; gives the exit code and never raises for the user's mistakes."""
    try:
        code = app(args=list(arguments), prog_name="crab", standalone_mode=False)
    except Exception as err:  # the outermost boundary: a user never sees a trace unasked
        return told(err)
    except KeyboardInterrupt:
        return told(typer.Abort())
    if code == INTERRUPTED:
        return told(typer.Abort())  # Typer catches ctrl-c itself and says nothing
    return code if isinstance(code, int) else 0


def _hush_libraries() -> None:
    """What libraries say to programmers is no note to a user; CRAB_DEBUG=1 lets them speak."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")


def main() -> None:
    """The console script."""
    # torch's OpenMP threads otherwise spin at barriers, and a busy machine makes them many times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not debugging():
        _hush_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
