"""Lists and tables of clips: plain paths, one a line, or CSV, TSV and JSON lines with a question a row.

Columns: `clip` (also `path`, `file` or `video`), and if they are there `question`, `task`, `audio`, `id` and `choices`
(parted by `|`, or a list in JSON). What a row leaves empty is taken from the command line. Paths are relative to the
table's own folder; of stdin, to the current one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crab_core.batch.keys import compares
from crab_core.batch.plan import Plan, placed
from crab_core.errors import ConfigError, CrabError, InputError, UsageError
from crab_core.types import Request

CLIP_COLUMNS = ("clip", "path", "file", "video")
COLUMNS = ("question", "task", "audio", "id", "choices")
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
LISTS = (".txt", ".lst", ".list")
_SHOWN = 5  # mistakes that are told one by one

Check = Callable[[Request], object]
Rows = Iterator[tuple[int, Mapping[str, str]]]


def of_file(path: Path, asked: Request, check: Check) -> Plan:
    """The items of a list or table file; `check` raises a CrabError for a request that cannot be asked.

    Raises InputError for a file that cannot be read, UsageError for lacking columns, ConfigError for wrong rows.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror}", hint="Check the path and its permissions.") from err
    return of_bytes(data, path.suffix.lower(), asked, check, where=str(path), folder=path.parent)


def of_bytes(data: bytes, suffix: str, asked: Request, check: Check, *, where: str, folder: Path) -> Plan:
    """The items of a list or, if the suffix is one of `TABLES`, of a table; `where` is its name in errors."""
    rows = _rows(data, suffix, where)
    requests: list[Request] = []
    mistakes: list[str] = []
    for number, row in rows:
        try:
            requests.append(_request(row, asked, folder))
            check(requests[-1])
        except CrabError as err:
            mistakes.append(f"line {number}: {err.message}")
    if mistakes:
        more = [f"and {len(mistakes) - _SHOWN} more"] if len(mistakes) > _SHOWN else []
        raise ConfigError(where, [*mistakes[:_SHOWN], *more])
    if not requests:
        raise InputError(
            f"no clip is named in '{where}'", hint="Give one path a line, or a table with a column 'clip'."
        )
    return Plan(placed(requests))


def _rows(data: bytes, suffix: str, where: str) -> Rows:
    text = _text(data, where, strict=suffix in TABLES)
    if suffix in (".csv", ".tsv"):
        return _of_csv(text, "\t" if suffix == ".tsv" else ",", where)
    if suffix in TABLES:
        return _of_json(text, where)
    return ((number, {"clip": line}) for number, line in enumerate(_lines(text), start=1) if line.strip())


def _text(data: bytes, where: str, *, strict: bool) -> str:
    """The text without its byte order mark; bytes of names that are no UTF-8 are kept in lists, refused in tables."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig", errors="strict" if strict else "surrogateescape")
    except UnicodeDecodeError as err:
        raise InputError(
            f"'{where}' is not UTF-8: byte {err.start} is 0x{data[err.start]:02x}", hint="Save it as UTF-8."
        ) from err


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _of_csv(text: str, delimiter: str, where: str) -> Rows:
    reader = csv.DictReader(io.StringIO("\n".join(_lines(text))), delimiter=delimiter, restval="")
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        _require_clip(columns, where)
        reader.fieldnames = columns
        for row in reader:
            yield reader.line_num, {name: value for name, value in row.items() if isinstance(value, str)}
    except csv.Error as err:
        raise InputError(f"'{where}', line {reader.line_num}: {err}", hint="Save it as plain CSV.") from err


def _of_json(text: str, where: str) -> Rows:
    for number, line in enumerate(_lines(text), start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError) as err:
            raise InputError(f"'{where}', line {number} is no JSON: {err}", hint="Write one object a line.") from err
        if not isinstance(row, dict):
            raise InputError(f"'{where}', line {number} is no JSON object", hint='Write {"clip": "a.mp4"} a line.')
        columns = {str(name).lower(): value for name, value in row.items()}
        _require_clip(list(columns), f"{where}, line {number}")
        yield number, {name: _as_text(value) for name, value in columns.items() if value is not None}


def _require_clip(columns: list[str], where: str) -> None:
    if not set(columns) & set(CLIP_COLUMNS):
        found = ", ".join(f"'{name}'" for name in columns) or "nothing"
        raise UsageError(
            f"no column 'clip' in '{where}', only {found}",
            hint=f"Columns: clip and, if wanted, {', '.join(COLUMNS)}; the first line names them.",
        )


def _request(row: Mapping[str, str], asked: Request, folder: Path) -> Request:
    clip = next((row[name] for name in CLIP_COLUMNS if row.get(name, "").strip()), None)
    if clip is None:
        raise UsageError("no clip is named")
    if "\0" in clip:
        raise UsageError("the clip's name holds a zero byte")
    given = {name: row[name] for name in COLUMNS if row.get(name, "").strip()}
    task = given.get("task", asked.task)
    return replace(
        asked,
        clip=folder / clip,
        task=task,
        question=given.get("question", asked.question),
        audio_path=folder / given["audio"] if "audio" in given else asked.audio_path,
        id=given.get("id", Path(clip).as_posix()),
        choices=_choices(given["choices"], task, folder) if "choices" in given else asked.choices,
    )


def _as_text(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def _choices(told: str, task: str, folder: Path) -> tuple[str, ...]:
    """The choices of a row; files of a task that compares clips lie where the table does."""
    named = [one.strip() for one in told.split("|")]
    return tuple(str(folder / one) for one in named) if compares(task) else tuple(named)
