"""Progress on stderr, drawn with rich on a terminal and not at all elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from crab_cli.output import Output
from crab_core.progress import Listener, Note, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Drawn
    from rich.progress import TaskID


@contextmanager
def bars(output: Output, *, lines: bool = False) -> Iterator[Listener]:
    """A listener that draws one bar a stage, from the first progress on, and removes them at the end.

    Notes go to the output. While bars are drawn, what is printed stands above them. With `lines`, progress that has
    something to say is a line each where nothing is drawn.
    """
    if output.quiet or not sys.stderr.isatty():
        yield _in_lines(output) if lines and not output.quiet else output.listen
        return
    drawn: Drawn | None = None
    stages: dict[str, TaskID] = {}

    def listen(heard: Progress | Note) -> None:
        nonlocal drawn
        if isinstance(heard, Note):
            output.listen(heard)
            return
        if drawn is None:
            drawn = _started()
        if heard.stage not in stages:
            stages[heard.stage] = drawn.add_task(heard.stage, total=None)
        words = f"{heard.stage} {heard.detail}".strip()
        drawn.update(stages[heard.stage], completed=heard.done, total=heard.total or None, description=words)

    try:
        yield listen
    finally:
        if drawn is not None:
            drawn.stop()


def _in_lines(output: Output) -> Listener:
    def listen(heard: Progress | Note) -> None:
        if isinstance(heard, Progress) and heard.detail:
            typer.echo(f"{heard.stage} {heard.done}/{heard.total} {heard.detail}", err=True)
        else:
            output.listen(heard)

    return listen


def _started() -> Drawn:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Drawn

    text = TextColumn("{task.description}")
    columns = (SpinnerColumn(), text, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    drawn = Drawn(*columns, console=Console(stderr=True), transient=True)
    drawn.start()
    return drawn


@contextmanager
def spinner(output: Output, doing: str) -> Iterator[Listener]:
    """Shows that something of unknown length is being done, and removes it at the end; notes go to the output."""
    if output.quiet or not sys.stderr.isatty():
        yield output.listen
        return
    from rich.console import Console

    with Console(stderr=True).status(doing):
        yield output.listen
