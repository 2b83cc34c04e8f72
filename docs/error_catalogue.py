"""Writes docs/errors.md from the error classes: python docs/error_catalogue.py"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from crab_core import errors
from crab_core.errors import CrabError

PAGE = Path(__file__).with_name("errors.md")
HEAD = """\
# Errors and exit codes

<!-- written by docs/error_catalogue.py -->

An error is one or two lines on stderr: what happened, with the value in quotes, then what to do. `CRAB_DEBUG=1` adds
the trace. A failure never exits with 0.

| exit code | meaning |
| --: | --- |
| 0 | all done |
| 1 | some inputs of a batch failed |
| 2 | usage: an option, a name, a question or a configuration cannot be used |
| 3 | no usable input: a file is missing, broken or of the wrong kind |
| 4 | model or weights: unknown, missing, damaged or mismatched |
| 5 | resources: memory or disk ran out |
| 130 | interrupted |

From Python every error is a `crab_core.CrabError` with `message`, `hint` and `exit_code`. Each class is also one of
Python's own where that fits, so that existing handlers catch it.

| class | exit code | when | caught as |
| --- | --: | --- | --- |
"""


def classes(base: type[CrabError] = CrabError) -> Iterator[type[CrabError]]:
    """The error classes of errors.py, each parent before its children, in the order of the file."""
    if base.__module__ == errors.__name__:
        yield base
    for child in base.__subclasses__():
        yield from classes(child)


def page() -> str:
    """The whole of docs/errors.md."""
    return HEAD + "".join(f"| {' | '.join(row(one))} |\n" for one in dict.fromkeys(classes()))


def row(one: type[CrabError]) -> tuple[str, str, str, str]:
    """Name, exit code, the first line of the docstring, and the classes by which it can be caught too."""
    first, _, _ = (inspect.getdoc(one) or "").partition("\n")
    parents = [base.__name__ for base in one.__mro__[1:] if base not in (Exception, BaseException, object)]
    own = [name for name in parents if name != CrabError.__name__]
    return f"`{one.__name__}`", str(one.exit_code), first, ", ".join(f"`{name}`" for name in own)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
