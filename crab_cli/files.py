"""What `--out DIR` holds after one clip: `<clip name>.json`, `<clip name>.srt`, one file a format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.errors import ResourceError, UsageError
from crab_core.registry import WRITERS, suggest
from crab_core.types import Result

if TYPE_CHECKING:
    from crab_core.render.writers._base import TextWriter

ALL = "all"


@dataclass(frozen=True, slots=True)
class Target:
    """A file to be written and who writes it."""

    path: Path
    writer: TextWriter

    def write(self, result: Result, clip: Path) -> None:
        """Write the result about a clip; raises ResourceError if it cannot be written."""
        try:
            self.path.write_text(self.writer.write(result, clip), encoding="utf-8", newline="\n")
        except OSError as err:
            raise ResourceError(f"cannot write '{self.path}': {err.strerror}", hint="Choose another --out.") from err


def writers_of(formats: Sequence[str] | None, produces: Sequence[str] | None = None) -> list[TextWriter]:
    """The writers of the formats, each once; `all` is every one, and none given is json.

    With `produces`, what a task gives, `all` leaves out what would stay empty, and asking for it is a mistake.
    Raises UsageError for an unknown format and for one that cannot hold what the task gives.
    """
    names = list(formats or ["json"])
    for name in names:
        if name != ALL and name not in WRITERS:
            raise UsageError(f"no format is called '{name}'", hint=suggest(name, [*WRITERS, ALL], kind="format"))
    if ALL in names:
        every: list[TextWriter] = [entry.load() for entry in WRITERS.values()]
        return [writer for writer in every if produces is None or not writer.needs or writer.needs in produces]
    chosen: dict[str, TextWriter] = {name: WRITERS[name].load() for name in names}
    for name, writer in chosen.items():
        if produces is not None and writer.needs and writer.needs not in produces:
            raise UsageError(
                f"format '{name}' holds {writer.needs}, and the task gives {' and '.join(produces)}",
                hint="Leave it out, or give --task avvp.",
            )
    return list(chosen.values())


def planned(
    out: Path | None,
    formats: Sequence[str] | None,
    clip: Path,
    produces: Sequence[str] | None = None,
    *,
    overwrite: bool = False,
) -> list[Target]:
    """The files that will be written about a clip, their folder made now.

    Raises UsageError for what `writers_of` refuses, a format without a folder, a folder that cannot be made or written,
    and a file that is there already unless it is to be replaced.
    """
    if out is None and formats:
        raise UsageError(f"--format '{formats[0]}' writes files, and no folder was given", hint="Give one: --out DIR")
    writers = writers_of(formats, produces)
    if out is None:
        return []
    make_folder(out)
    targets = [Target(out / f"{clip.name}{writer.suffix}", writer) for writer in writers]
    for path in (target.path for target in targets if not overwrite and os.path.lexists(target.path)):
        raise UsageError(f"'{path}' is there already", hint="Give --overwrite to replace it, or another --out.")
    return targets


def make_folder(out: Path) -> None:
    """Make a folder in which files can be written; raises UsageError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UsageError(f"cannot make the folder '{out}': {err.strerror}", hint="Choose another --out.") from err
    if not os.access(out, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write into the folder '{out}'", hint="Choose another --out.")
