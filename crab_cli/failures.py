"""Every exception becomes one or two lines on stderr and an exit code; CRAB_DEBUG=1 adds the trace.

crab: no file 'garden.mp4'
      Check the path.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from crab_core.errors import ConfigError, CrabError

INDENT = " " * len("crab: ")
INTERRUPTED = 130
BUG = "Run it again with CRAB_DEBUG=1 before the command, and report what is shown."


def told(err: BaseException) -> int:
    """Tell the user what happened and what to do; gives the exit code."""
    if debugging():
        traceback.print_exception(err, file=sys.stderr)
    message, hints, code = explain(err)
    typer.echo("\n".join([f"crab: {message}", *(f"{INDENT}{hint}" for hint in hints)]), err=True)
    return code


def debugging() -> bool:
    """True if CRAB_DEBUG asks for everything."""
    return os.environ.get("CRAB_DEBUG", "0") not in ("", "0")


def explain(err: BaseException) -> tuple[str, Sequence[str], int]:
    """The message on one line, the lines of advice below it, and the exit code."""
    from crab_core.engine.memory import is_out_of_memory

    if isinstance(err, ConfigError):
        return one_line(err.message), [one_line(mistake) for mistake in err.mistakes], err.exit_code
    if isinstance(err, CrabError):
        return one_line(err.message), [one_line(err.hint)] if err.hint else [], err.exit_code
    if isinstance(err, typer.Abort | KeyboardInterrupt):
        return "interrupted", [], INTERRUPTED
    if hasattr(err, "format_message"):  # what Typer raises when it parses; its class has no public name
        return _usage(err)
    if is_out_of_memory(err):
        return "memory ran out", ["Close other programs, or use a smaller --model or --quantize 4bit."], 5
    if isinstance(err, OSError) and err.strerror:
        where = f" '{err.filename}'" if err.filename else ""
        full = err.errno in (28, 122)  # no space left, quota exceeded
        return one_line(f"{err.strerror[:1].lower()}{err.strerror[1:]}{where}"), [], 5 if full else 3
    return one_line(f"unexpected {type(err).__name__}: {err}"), [BUG], 1


def one_line(text: str) -> str:
    r"""The text with line breaks, control characters and undecodable bytes as escapes: `a\nb` for a two-line name."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _usage(err: BaseException) -> tuple[str, Sequence[str], int]:
    message = err.format_message().strip()  # type: ignore[attr-defined]
    context = getattr(err, "ctx", None)
    path = getattr(context, "command_path", "crab")
    if type(err).__name__ == "NoArgsIsHelpError":
        typer.echo(message, err=True)
        return "a command is needed", [f"Every option: {path} --help"], 2
    possible = getattr(err, "possibilities", None)
    if possible:
        message = message.partition(" (")[0]
        return one_line(_lower(message)), [f"Did you mean {' or '.join(sorted(possible)[:2])}?"], 2
    said, _, suggestion = message.partition(" Did you mean ")
    hint = f"Did you mean {suggestion}" if suggestion else f"Every option: {path} --help"
    return one_line(_lower(said.rstrip("."))), [hint], 2


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
