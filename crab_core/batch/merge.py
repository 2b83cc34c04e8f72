"""Several output folders become one: the rows of all, each key once, sorted by name, and the files of the clips.

Only keys and offsets are held in memory, not the rows. Merging again, or in another order, gives the same rows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crab_core.batch.journal import ERRORS, RESULTS, RUN, Journal, rows_of
from crab_core.batch.locks import CLAIMS, WRITING
from crab_core.errors import InputError, ResourceError, UsageError

SCHEMA = "crab.merge/1"
_OURS = {RESULTS, ERRORS, RUN, CLAIMS, WRITING}
_AT_ONCE = 1000  # rows written together


@dataclass(frozen=True, slots=True)
class Merged:
    """How many rows came together; `conflicts` were finished with different answers, of which the first is kept."""

    results: int
    errors: int
    duplicates: int
    conflicts: int
    files: int


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Join output folders into a new or empty one.

    Raises InputError for a folder without results or errors, UsageError if `out` is one of them or in use,
    ResourceError if the disk does not take it.
    """
    _check(folders, out)
    journal = Journal(out)
    try:
        finished, duplicates, conflicts = _union(folders, RESULTS)
        failed, more, _ = _union(folders, ERRORS)
        failed = {key: where for key, where in failed.items() if key not in finished}
        for some in _sorted(finished):
            journal.record(results=some)
        for some in _sorted(failed):
            journal.record(errors=some)
        files = sum(_copy(folder, out) for folder in folders)
    finally:
        journal.close()
    return Merged(len(finished), len(failed), duplicates + more, conflicts, files)


@dataclass(frozen=True, slots=True)
class _Where:
    """A row on disk and the name that it sorts by."""

    name: str
    path: Path
    start: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.readline()


def _check(folders: Sequence[Path], out: Path) -> None:
    for folder in folders:
        if not (folder / RESULTS).is_file() and not (folder / ERRORS).is_file():
            raise InputError(
                f"'{folder}' holds no {RESULTS}", hint="Give the --out folders of runs: crab merge out/1 out/2 -o all"
            )
        if folder.resolve() == out.resolve():
            raise UsageError(f"--out '{out}' is one of the folders to merge", hint="Choose a new --out.")
    if any((out / name).exists() for name in (RESULTS, ERRORS)):
        raise UsageError(f"--out '{out}' holds the results of another run", hint="Choose a new or empty --out.")


def _union(folders: Sequence[Path], name: str) -> tuple[dict[str, _Where], int, int]:
    """Each key with its first row, how many keys came again, and how many of those with another row."""
    found: dict[str, _Where] = {}
    duplicates = conflicts = 0
    for folder in folders:
        path = folder / name
        for start, text in rows_of(path):
            row: dict[str, Any] = json.loads(text)
            key = str(row["key"])
            if key in found:
                duplicates += 1
                conflicts += found[key].read() != text
            else:
                found[key] = _Where(str(row.get("id", "")), path, start)
    return found, duplicates, conflicts


def _sorted(found: dict[str, _Where]) -> Iterator[list[bytes]]:
    """The rows by name and key, some at a time."""
    order = sorted(found, key=lambda key: (found[key].name, key))
    for first in range(0, len(order), _AT_ONCE):
        yield [found[key].read() for key in order[first : first + _AT_ONCE]]


def _copy(folder: Path, out: Path) -> int:
    """Copy the files of the clips that are not there yet; links are not followed, so that nothing else is copied."""
    copied = 0
    skipped = out.resolve()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_symlink() or not path.is_file() or str(relative) in _OURS or skipped in path.resolve().parents:
            continue
        target = out / relative
        if target.exists():
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except OSError as err:
            raise ResourceError(f"cannot write '{target}': {err.strerror}", hint="Choose another --out.") from err
        copied += 1
    return copied
