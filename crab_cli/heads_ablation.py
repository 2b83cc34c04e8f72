"""Heads that are named on the command line, and the ablation table on a terminal; heads are counted from 1 here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from crab_cli.output import Output, table
from crab_core.errors import UsageError

LONGEST = 48  # characters of a cell in the terminal's table; the last one of a row may be longer


@dataclass(frozen=True, slots=True)
class NamedHeads:
    """The heads of `--drop-head` and of `--only-head`, as they were typed."""

    drop: tuple[int, ...] = ()
    only: tuple[int, ...] = ()

    def check(self, heads: int | None) -> None:
        """Raise UsageError for a head that a model with so many does not have; None if that is not known yet."""
        for flag, given in (("--drop-head", self.drop), ("--only-head", self.only)):
            for head in given:
                if head < 1 or (heads is not None and head > heads):
                    raise UsageError(f"{flag} '{head}' is no head of the model{_range(heads)}", hint=_HINT)

    def from_0(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What to drop and what to keep, counted from 0."""
        return tuple(head - 1 for head in self.drop), tuple(head - 1 for head in self.only)


_HINT = "Heads are counted from 1, as in the report."


def _range(heads: int | None) -> str:
    if heads is None:
        return ""
    return ", which has one head, 1" if heads == 1 else f": choose 1 to {heads}"


def heads_told(folder: Path) -> int | None:
    """How many heads a model's folder says that it has, before its weights are read; None if it does not say."""
    from crab_core.weights.folder import read_header

    told = read_header(folder).config.get("ilora")
    heads = told.get("heads") if isinstance(told, Mapping) else None
    return heads if isinstance(heads, int) and heads > 0 else None


def tell_ablations(output: Output, document: Mapping[str, Any]) -> None:
    """The answers with some heads only as a table on stderr, unless the output is quiet or nothing was silenced."""
    from crab_core.render.heads_ablation import ablation_table

    columns, rows, _ = ablation_table(document)
    if output.quiet or not rows:
        return
    for line in table(columns, [[*map(_short, row[:-1]), row[-1]] for row in rows], aligned=True):
        typer.echo(line, err=True)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
