"""Reading data files line by line, in bounded memory however large they are, and the samples in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crab_core.data.sample import Sample, SampleError, read_sample
from crab_core.data.world_rows import is_world_row, of_world_row
from crab_core.errors import InputError

MOST_BYTES = 64 << 20  # of one line; an annotation is far smaller


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no sample: where it is and everything that is wrong with it."""

    line: int
    mistakes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A line's object, where it stands, and the offset of its first byte."""

    line: int
    offset: int
    document: dict[str, Any]


def read_objects(path: Path) -> Iterator[Located | BadLine]:
    """The objects of a file of JSON lines, one at a time; blank lines are passed over.

    Raises InputError if the file cannot be read or is a folder.
    """
    try:
        with path.open("rb") as file:
            offset, number = 0, 0
            while data := file.readline(MOST_BYTES):
                number += 1
                start, offset = offset, offset + len(data)
                if len(data) == MOST_BYTES and not data.endswith(b"\n"):
                    offset += _skip_line(file)
                    yield BadLine(number, (f"the line is longer than {MOST_BYTES >> 20} MiB",))
                elif data.strip() and data.strip() != b"\xef\xbb\xbf":
                    yield _object(data, number, start)
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err


def read_samples(path: Path) -> Iterator[Sample | BadLine]:
    """The samples of a file, of our own schema or as `crab data synth` writes them; raises as `read_objects`."""
    for found in read_objects(path):
        yield sample_of(found)


def sample_of(found: Located | BadLine) -> Sample | BadLine:
    """The sample that a line's object is."""
    if isinstance(found, BadLine):
        return found
    try:
        read = of_world_row if is_world_row(found.document) else read_sample
        return read(found.document, found.line)
    except SampleError as err:
        return BadLine(found.line, err.mistakes)


def object_at(path: Path, offset: int, line: int) -> Located | BadLine:
    """The object of the line that begins at a byte, as `read_objects` found it; raises InputError as that does."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return _object(file.readline(MOST_BYTES), line, offset)
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err


def _object(data: bytes, number: int, offset: int) -> Located | BadLine:
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as err:
        return BadLine(number, (f"the line is not UTF-8: byte {err.start} is 0x{data[err.start]:02x}",))
    except (ValueError, RecursionError) as err:
        return BadLine(number, (f"the line is no JSON: {err}",))
    if not isinstance(document, dict):
        return BadLine(number, (f"the line holds {type(document).__name__}, not an object",))
    return Located(number, offset, document)


def _skip_line(file: Any) -> int:
    """Read to the end of the line; gives how many bytes that were."""
    skipped = 0
    while data := file.readline(MOST_BYTES):
        skipped += len(data)
        if data.endswith(b"\n"):
            break
    return skipped
