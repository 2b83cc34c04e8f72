"""The records of a JSON array, of JSON lines or of a CSV table, one at a time, with the line each begins on.

An array is never read whole: AV-UIE files are arrays of hundreds of thousands of records.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from crab_core.data.lines import MOST_BYTES, BadLine, Located, read_objects
from crab_core.errors import InputError

_CHUNK = 1 << 16
_BLANK = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Record:
    """One record and the line it begins on."""

    line: int
    values: Mapping[str, Any]


def read_records(path: Path) -> Iterator[Record | BadLine]:
    """The records of a `.json`, `.jsonl` or `.csv` file; raises InputError if it cannot be read or is broken midway."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            if path.suffix.lower() in (".csv", ".tsv"):
                yield from _of_table(text, "\t" if path.suffix.lower() == ".tsv" else ",")
                return
            begins_array = _first_letter(text) == "["
        if begins_array:
            with path.open(encoding="utf-8-sig") as text:
                yield from _Array(text, path).records()
            return
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err
    except UnicodeDecodeError as err:
        raise InputError(f"'{path}' is not UTF-8: {err.reason}", hint="Save it as UTF-8.") from err
    for found in read_objects(path):
        yield Record(found.line, found.document) if isinstance(found, Located) else found


def _first_letter(text: TextIO) -> str:
    while letter := text.read(1):
        if letter not in _BLANK:
            return letter
    return ""


def _of_table(text: TextIO, delimiter: str) -> Iterator[Record | BadLine]:
    rows = csv.DictReader(text, delimiter=delimiter)
    line = 1
    try:
        for row in rows:
            line += 1
            if None in row or None in row.values():
                yield BadLine(line, (f"the row does not have the header's {len(rows.fieldnames or ())} columns",))
            else:
                yield Record(line, row)
            line = rows.line_num
    except csv.Error as err:
        yield BadLine(rows.line_num, (f"the row is no CSV: {err}",))


@dataclass
class _Array:
    """Decodes an array's items as they come; holds one item and a chunk."""

    text: TextIO
    path: Path
    line: int = 1
    held: str = ""
    _decoder: json.JSONDecoder = field(default_factory=json.JSONDecoder)

    def records(self) -> Iterator[Record | BadLine]:
        """Every item; raises InputError where the array is torn."""
        self._skip("[")
        while True:
            self._skip(", ")
            if not self.held:
                raise self._torn("it ends before its last bracket")
            if self.held[0] == "]":
                return
            line, item = self.line, self._item()
            if isinstance(item, dict):
                yield Record(line, item)
            else:
                yield BadLine(line, (f"the item is {type(item).__name__}, not an object",))

    def _item(self) -> Any:
        while True:
            try:
                item, end = self._decoder.raw_decode(self.held)
            except RecursionError as err:
                raise self._torn("an item is nested too deeply") from err
            except ValueError as err:
                if not self._more():
                    raise self._torn(f"an item is no JSON: {err}") from err
                if len(self.held) > MOST_BYTES:
                    raise self._torn(f"an item is longer than {MOST_BYTES >> 20} MiB") from err
                continue
            self._drop(end)
            return item

    def _skip(self, letters: str) -> None:
        """Drop blanks and these letters, reading on as needed."""
        while True:
            rest = self.held.lstrip(_BLANK + letters)
            self._drop(len(self.held) - len(rest))
            if self.held or not self._more():
                return

    def _drop(self, length: int) -> None:
        self.line += self.held.count("\n", 0, length)
        self.held = self.held[length:]

    def _more(self) -> bool:
        """Read on: as much again as is held, so that a long item is not decoded once a chunk."""
        chunk = self.text.read(max(_CHUNK, len(self.held)))
        self.held += chunk
        return bool(chunk)

    def _torn(self, why: str) -> InputError:
        return InputError(f"'{self.path}' is broken at line {self.line}: {why}", hint="Fetch or write it again.")
