"""What is finished in an output folder: `results.jsonl` and `errors.jsonl`, one row a clip, only ever appended to.

A row is on disk (flushed and fsynced) before `record` returns. A line that a killed process left torn is cut off before
the next one is written. Opening reads each row's key and nothing else of it.

    {"key": "<work>-<name>", "schema": "crab.result/1", "id": "a/b.mp4", "model": ...}

The rows hold no durations of computing, so that a run that was interrupted and one that was not leave the same rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from crab_core.batch.keys import NAME_LETTERS, WORK_LETTERS, Key
from crab_core.batch.locks import Locks
from crab_core.errors import ResourceError
from crab_core.files import replace_file
from crab_core.types import Failure, Result

RESULTS, ERRORS, RUN = "results.jsonl", "errors.jsonl", "run.json"
_HEAD = b'{"key": "'
_WORK_END = len(_HEAD) + WORK_LETTERS
_KEY_END = _WORK_END + 1 + NAME_LETTERS
_CUT_BYTES = 1 << 16
TIMES = ("seconds", "timings_s")  # the keys of a Result that no two runs share


class Journal:
    """The finished and the failed work of one output folder, shared with the other runs in it."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.locks = Locks(folder)
        except OSError as err:
            raise ResourceError(f"cannot write into '{folder}': {err.strerror}", hint="Choose another --out.") from err
        self.folder = folder
        self.damaged = 0  # lines that are no rows of ours
        self.finished: dict[bytes, int] = {}  # whole key -> where its row starts
        self.works: dict[bytes, int] = {}  # first part of the key -> where the first such row starts
        self.failed: set[bytes] = set()
        self._read_to = {RESULTS: 0, ERRORS: 0}
        with self.locks.writing():
            for name in (RESULTS, ERRORS):
                _cut_torn(folder / name)
        self.refresh()

    def is_finished(self, key: Key) -> bool:
        """True if the item has its result."""
        return str(key).encode() in self.finished

    def is_failed(self, key: Key) -> bool:
        """True if the item has an error row and no result."""
        return str(key).encode() in self.failed and not self.is_finished(key)

    def copy_of(self, key: Key) -> dict[str, Any] | None:
        """The row of the same work under any name, or None if that was never finished."""
        start = self.works.get(key.work.encode())
        if start is None:
            return None
        with (self.folder / RESULTS).open("rb") as file:
            file.seek(start)
            row: dict[str, Any] = json.loads(file.readline())
        return row

    def record(self, results: Sequence[bytes] = (), errors: Sequence[bytes] = ()) -> None:
        """Append rows and wait for the disk; raises ResourceError, with nothing torn left, if they do not fit."""
        with self.locks.writing():
            for name, rows in ((RESULTS, results), (ERRORS, errors)):
                if rows:
                    append(self.folder / name, b"".join(rows))
            self.refresh()

    def refresh(self) -> None:
        """Read what was appended since, by this run or by others; lines still being written wait."""
        for name in (RESULTS, ERRORS):
            path = self.folder / name
            size = path.stat().st_size if path.exists() else 0
            if size < self._read_to[name]:  # somebody took rows out
                self._forget(name)
            if size > self._read_to[name]:
                self._read(name, path)

    def drop_errors(self, names: set[str]) -> None:
        """Take the error rows of these items out, so that they are tried again."""
        kept = _named(names)
        with self.locks.writing():
            path = self.folder / ERRORS
            rows = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            replace_file(path, b"".join(row for row in rows if row[_WORK_END + 1 : _KEY_END] not in kept))
            self._forget(ERRORS)
            self.refresh()

    def clear(self) -> None:
        """Forget everything; raises ResourceError if another run is in the folder."""
        if not self.locks.alone():
            raise ResourceError(
                f"another run is writing into '{self.folder}'", hint="Let it end, or choose another --out."
            )
        for name in (RESULTS, ERRORS, RUN):
            (self.folder / name).unlink(missing_ok=True)
        for name in (RESULTS, ERRORS):
            self._forget(name)

    def close(self) -> None:
        """Let other runs have the folder."""
        self.locks.close()

    def _forget(self, name: str) -> None:
        self._read_to[name] = 0
        if name == RESULTS:
            self.finished.clear()
            self.works.clear()
        else:
            self.failed.clear()

    def _read(self, name: str, path: Path) -> None:
        """Take in the whole lines behind the last one read."""
        with path.open("rb") as file:
            file.seek(self._read_to[name])
            start = self._read_to[name]
            for line in file:
                if line[-1:] != b"\n":
                    break
                if not _is_row(line):
                    self.damaged += 1
                elif name == RESULTS:
                    self.finished[line[len(_HEAD) : _KEY_END]] = start
                    self.works.setdefault(line[len(_HEAD) : _WORK_END], start)
                else:
                    self.failed.add(line[len(_HEAD) : _KEY_END])
                start += len(line)
            self._read_to[name] = start


def result_row(key: Key, result: Result) -> bytes:
    """A result as a line of `results.jsonl`, without its durations."""
    return line({"key": str(key), **{k: v for k, v in result.to_dict().items() if k not in TIMES}})


def copied_row(key: Key, row: Mapping[str, Any], item: str) -> bytes:
    """A finished row as that of another item with the same content."""
    return line({**row, "key": str(key), "id": item})


def error_row(key: Key, failure: Failure) -> bytes:
    """A failure as a line of `errors.jsonl`."""
    request = failure.request
    return line(
        {
            "key": str(key),
            "id": request.id or request.clip.name,
            "task": request.task,
            "question": request.question,
            "stage": failure.stage,
            "error": failure.error_type,
            "message": failure.message,
        }
    )


def read_results(folder: Path) -> Iterator[Result]:
    """The results of an output folder, in the order of the file; lines that are no rows are passed over."""
    for _, text in rows_of(folder / RESULTS):
        row = json.loads(text)
        del row["key"]
        yield Result.from_dict({"seconds": 0.0, **row})


def rows_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each row of a file with its offset; lines that are no rows are passed over, and a missing file has none."""
    if not path.exists():
        return
    start = 0
    with path.open("rb") as file:
        for text in file:
            if _is_row(text):
                yield start, text
            start += len(text)


def _is_row(text: bytes) -> bool:
    return text[: len(_HEAD)] == _HEAD and text[-2:] == b"}\n"


def line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of UTF-8; names that are no UTF-8 are escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


def append(path: Path, data: bytes) -> None:
    """Add whole lines at the end of a file and wait for the disk; what does not fit is taken back.

    The caller holds the lock. Raises ResourceError if the disk is full or read-only.
    """
    try:
        with path.open("ab", buffering=0) as file:
            _cut_torn(path)
            start = file.seek(0, os.SEEK_END)
            try:
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
    except OSError as err:
        raise ResourceError(
            f"cannot write '{path}': {err.strerror}",
            hint="Make room, then run the same command again: what is done is kept.",
        ) from err


def _named(names: set[str]) -> set[bytes]:
    return {name.encode() for name in names}


def _cut_torn(path: Path) -> None:
    """Cut off what follows the last line end: a killed process left it."""
    if not path.exists() or not (size := path.stat().st_size):
        return
    with path.open("rb+") as file:
        file.seek(size - 1)
        if file.read(1) == b"\n":
            return
        end, kept = size, -1
        while end > 0 and kept < 0:
            start = max(0, end - _CUT_BYTES)
            file.seek(start)
            kept = file.read(end - start).rfind(b"\n")
            end = start
        file.truncate(end + kept + 1 if kept >= 0 else 0)
