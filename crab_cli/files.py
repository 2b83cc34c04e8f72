"""What `--out DIR` holds after one clip: `<clip name>.json`, `<clip name>.tsv`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from crab_cli.output import EVENT_COLUMNS, event_row, table
from crab_core.errors import ResourceError, UsageError
from crab_core.registry import suggest
from crab_core.types import Result


def planned(out: Path | None, formats: Sequence[str] | None, clip: Path) -> list[Path]:
    """The files that will be written, their folder made now.

    Raises UsageError for an unknown format, a format without a folder, or a folder that cannot be made.
    """
    if out is None and formats:
        raise UsageError(f"--format '{formats[0]}' writes files, and no folder was given", hint="Give one: --out DIR")
    wanted = formats or ["json"]
    for name in wanted:
        if f".{name}" not in WRITERS:
            known = [suffix[1:] for suffix in WRITERS]
            raise UsageError(f"no format is called '{name}'", hint=suggest(name, known, kind="format"))
    if out is None:
        return []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UsageError(f"cannot make the folder '{out}': {err.strerror}", hint="Choose another --out.") from err
    return [out / f"{clip.name}.{suffix}" for suffix in dict.fromkeys(wanted)]


def write(result: Result, path: Path) -> None:
    """The result in the format that the suffix names; raises ResourceError if it cannot be written."""
    try:
        path.write_text(WRITERS[path.suffix](result), encoding="utf-8")
    except OSError as err:
        raise ResourceError(f"cannot write '{path}': {err.strerror}", hint="Choose another --out.") from err


def _json(result: Result) -> str:
    return json.dumps(result.to_dict(), ensure_ascii=False, indent=2) + "\n"


def _tsv(result: Result) -> str:
    rows = ["\t".join(EVENT_COLUMNS), *table(EVENT_COLUMNS, [event_row(e) for e in result.events], aligned=False)]
    return "".join(f"{row}\n" for row in rows)


WRITERS = {".json": _json, ".tsv": _tsv}
