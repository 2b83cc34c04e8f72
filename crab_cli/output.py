"""The answer goes to stdout, the talk to stderr; one object does both.

On a terminal the reasoning streams dim above and the answer stands bold below it. Without one, stdout holds the answer
only: a text, tab-separated events, or one JSON document.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import typer

from crab_cli.failures import one_line
from crab_core.progress import Note, Progress
from crab_core.types import Box, Event, Mask, Result

if TYPE_CHECKING:
    from crab_core.tasks._base import Task

DIM, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
EVENT_COLUMNS = ("start_s", "end_s", "track", "label")
SHOWN_DOUBTS = 5
MASK_COLUMNS = ("time_s", "label", "pixels", "share", "score")
BOX_COLUMNS = ("time_s", "x0", "y0", "x1", "y1", "label")


@dataclass
class Output:
    """What a command says. `quiet` drops notes and reasoning, `verbose` adds details, `as_json` prints documents.

    `draws` adds a timeline to events that are shown on a terminal, `stats` what a result cost to stderr.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    draws: bool = False
    stats: bool = False
    _streamed: Streamed | None = None

    def note(self, text: str) -> None:
        """One sentence on stderr."""
        if not self.quiet:
            typer.echo(f"note: {one_line(text)}", err=True)

    def detail(self, text: str) -> None:
        """One sentence on stderr, with --verbose only."""
        if self.verbose and not self.quiet:
            typer.echo(one_line(text), err=True)

    def listen(self, heard: Progress | Note) -> None:
        """What the core tells; its notes are details unless they are to be seen, its progress is the bars' business."""
        if isinstance(heard, Note):
            (self.note if heard.seen else self.detail)(heard.text)

    def document(self, document: Any) -> None:
        """One JSON document on stdout."""
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))

    def rows(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table: aligned with a header on a terminal, else tab-separated without one."""
        for line in table(columns, rows, aligned=sys.stdout.isatty()):
            typer.echo(line)

    def stream(self, task: Task) -> Streamed | None:
        """Where text goes while it is written; None unless somebody watches both streams.

        Text that is the answer itself (a caption) goes to stdout, reasoning goes dim to stderr.
        """
        if self.quiet or self.as_json or not (sys.stdout.isatty() and sys.stderr.isatty()):
            return None
        is_answer = task.produces == ("answer",) and not task.needs_question
        self._streamed = Streamed(sys.stdout, BOLD) if is_answer else Streamed(sys.stderr, DIM)
        return self._streamed

    def result(self, result: Result) -> None:
        """The answer, or the events, or the whole result as JSON; notes after it."""
        if self.as_json:
            self.document(result.to_dict())
        else:
            self._reasoning(result)
            self._answer(result)
        for text in result.notes:
            self.note(text)
        for text in result.consistency[:SHOWN_DOUBTS]:
            self.note(f"contradiction: {text}")
        if len(result.consistency) > SHOWN_DOUBTS:
            self.note(f"{len(result.consistency) - SHOWN_DOUBTS} more contradictions: see 'consistency' with --json")
        spent = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in result.timings_s.items())
        self.detail(f"{result.seconds:.2f} s: {spent}")
        for line in told_stats(result.stats) if self.stats and result.stats else []:
            typer.echo(line, err=True)

    def _reasoning(self, result: Result) -> None:
        if self._streamed is not None:
            self._streamed.end()
        elif result.answer is not None and result.answer.reasoning and not self.quiet:
            typer.echo(styled(result.answer.reasoning, DIM, sys.stderr), err=True)

    def _answer(self, result: Result) -> None:
        if result.task == "scan" and result.events and result.answer is not None:
            typer.echo(f"{styled(one_line(result.answer.text), BOLD, sys.stdout)}\n")
        if result.masks and not result.events:
            self.rows(MASK_COLUMNS, [mask_row(mask) for mask in result.masks])
        elif result.events:
            self.rows(EVENT_COLUMNS, [event_row(event) for event in result.events])
            self._timeline(result)
        elif result.answer is not None and not self._is_shown(result.answer.text):
            typer.echo(styled(result.answer.text, BOLD, sys.stdout))

        if result.events and result.boxes:
            typer.echo()
            self.rows(BOX_COLUMNS, [box_row(box) for box in result.boxes])
        if result.events and result.masks:
            typer.echo()
            self.rows(MASK_COLUMNS, [mask_row(mask) for mask in result.masks])

    def _timeline(self, result: Result) -> None:
        if not self.draws or not sys.stdout.isatty():
            return
        from crab_cli.timeline import timeline

        encoding = (sys.stdout.encoding or "ascii").lower()
        width = shutil.get_terminal_size().columns
        lines = timeline(result.events, result.duration_s, width, ascii_only=not encoding.startswith("utf"))
        for line in ["", *lines] if lines else []:
            typer.echo(line)

    def _is_shown(self, text: str) -> bool:
        streamed = self._streamed
        return streamed is not None and streamed.target is sys.stdout and streamed.shown.split() == text.split()


@dataclass
class Streamed:
    """Text on its way to a terminal, held back from the first `<`, where a tagged answer begins."""

    target: TextIO
    style: str
    shown: str = ""
    _held: str = ""
    _closed: bool = False

    def __call__(self, piece: str) -> None:
        """Show what is before a tag; blanks at the end wait, so that the last line has none."""
        if self._closed:
            return
        text, tag, _ = (self._held + piece).partition("<")
        self._closed = bool(tag)
        ready = text.rstrip() if self.shown else text.strip()
        self._held = text[len(text.rstrip()) :]
        if ready:
            self.shown += ready
            typer.echo(styled(ready, self.style, self.target), nl=False, file=self.target)

    def end(self) -> None:
        """End the line, if there is one."""
        if self.shown:
            typer.echo(file=self.target)


def event_row(event: Event) -> tuple[str, str, str, str]:
    """An event as the columns of `EVENT_COLUMNS`."""
    return f"{event.start_s:g}", f"{event.end_s:g}", event.track, event.label


def mask_row(mask: Mask) -> tuple[str, str, str, str, str]:
    """A mask as the columns of `MASK_COLUMNS`; its share is that of the frame."""
    share = mask.area_px / (mask.size[0] * mask.size[1])
    return f"{mask.time_s:g}", mask.label, str(mask.area_px), f"{share:.4f}", f"{mask.score:g}"


def box_row(box: Box) -> tuple[str, str, str, str, str, str]:
    """A box as the columns of `BOX_COLUMNS`, in pixels with one decimal at most."""
    corners = (f"{round(side, 1):g}" for side in (box.x0, box.y0, box.x1, box.y1))
    x0, y0, x1, y1 = corners
    return f"{box.time_s:g}", x0, y0, x1, y1, box.label


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, aligned: bool) -> list[str]:
    """The lines of a table; cells are kept on one line each."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if not aligned:
        return ["\t".join(row) for row in cells]
    cells = [list(columns), *cells]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def styled(text: str, style: str, stream: TextIO) -> str:
    """The text in a style, if the stream is a terminal and NO_COLOR is not set."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else f"{style}{text}{PLAIN}"


def told_stats(stats: Mapping[str, Any]) -> list[str]:
    """What a result cost, in two lines: seconds by part; tokens and memory."""
    seconds = ", ".join(f"{part} {spent:.3f} s" for part, spent in stats["seconds"].items())
    speed = stats["tokens_per_s"]
    facts = [
        f"{stats['prompt_tokens']} prompt tokens ({stats['reused_tokens']} reused)",
        f"{stats['new_tokens']} new tokens" + (f", {speed:.1f} tokens/s" if speed is not None else ""),
        *(f"peak memory of {device} {bytes_ / 2**20:.0f} MiB" for device, bytes_ in stats["peak_memory_bytes"].items()),
    ]
    return [f"stats: {seconds}", f"stats: {', '.join(facts)}"]
