"""What a folder of results holds, read for a report: results and failures, reports about heads, surveys of heads.

Files are untrusted: what cannot be read is named in `Gathered.broken` and left out. Memory holds the results that are
shown one by one; all of them are counted.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_core.batch.journal import ERRORS, RESULTS, RUN, rows_of
from crab_core.errors import InputError
from crab_core.types import SCHEMA, Box, Event, Mask, Result

if TYPE_CHECKING:
    import numpy.typing as npt

HEADS, ARRAYS, SURVEY, ROWS = "heads.json", "heads.npz", "survey.json", "heads.jsonl"
HEADS_SCHEMA, SURVEY_SCHEMA = "crab.heads/1", "crab.heads-survey/1"
_MOST_JSON_BYTES = 1 << 28
_PASSED_OVER = {RUN, HEADS, SURVEY}


@dataclass(frozen=True)
class HeadsFound:
    """A report about the heads of one answer: the content of `heads.json`, and of `heads.npz` when it is asked for."""

    folder: Path
    document: dict[str, Any]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name; raises InputError if the file is missing or damaged."""
        import numpy as np

        path = self.folder / ARRAYS
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
            raise InputError(f"cannot read '{path}': {err}", hint="Make the report about its heads again.") from err


@dataclass
class Gathered:
    """What was found; `results` and `failures` are the first ones, `shown` at most, the numbers count all.

    `clips` are the folders in which runs looked for their clips. `broken` says which file could not be read and why.
    """

    source: Path
    shown: int
    results: list[Result] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    total: int = 0
    failed: int = 0
    tasks: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    audio: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    runs: list[dict[str, Any]] = field(default_factory=list)
    clips: list[Path] = field(default_factory=list)
    heads: list[HeadsFound] = field(default_factory=list)
    surveys: list[dict[str, Any]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """True if nothing of ours was found that could be read."""
        return not (self.total or self.failed or self.heads or self.surveys)


def gather(source: Path, shown: int = 100) -> Gathered:
    """Everything that `source`, or else the folders in it, hold.

    Raises InputError if there is no such folder, or nothing in it that a report could show.
    """
    if not source.is_dir():
        what = "is a file, not a folder of results" if source.exists() else "does not exist"
        raise InputError(f"'{source}' {what}", hint="Give the --out folder of a run.")
    found = Gathered(source, shown)
    has_results = _read_results(found, source)
    _read_heads(found, source)
    for folder in sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if not has_results:
            _read_results(found, folder)
        _read_heads(found, folder)
    if found.is_empty:
        broken = "".join(f"; '{name}': {why}" for name, why in found.broken[:1])
        raise InputError(
            f"'{source}' holds no results{broken}",
            hint="Give the --out folder of crab infer, localize, segment, scan or visualize-heads.",
        )
    return found


def _read_results(found: Gathered, folder: Path) -> bool:
    """Take in a folder's rows, or else its single results; False if it has none."""
    is_survey = (folder / ROWS).is_file() and not (folder / RESULTS).is_file()  # its failures are in its own page
    if (folder / RESULTS).is_file() or ((folder / ERRORS).is_file() and not is_survey):
        _read_run(found, folder / RUN)
        for _, row in rows_of(folder / RESULTS):
            _take_result(found, row, folder / RESULTS)
        for _, row in rows_of(folder / ERRORS):
            _take_failure(found, row, folder / ERRORS)
        _count_torn(found, folder)
        return True
    before = found.total
    for path in sorted(folder.glob("*.json")):
        if path.name not in _PASSED_OVER and not path.name.endswith(".labelstudio.json"):
            text = _read(found, path)
            if text is not None and SCHEMA.encode() in text[:4096]:
                _take_result(found, text, path)
    return found.total > before


def _take_result(found: Gathered, text: bytes, path: Path) -> None:
    try:
        document = json.loads(text)
        values = {name: value for name, value in document.items() if name != "key"}
        result = Result.from_dict({"seconds": 0.0, **values})
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        found.broken.append((_name(found, path), f"a result that cannot be read: {_told(err)}"))
        return
    found.total += 1
    found.tasks[result.task] += 1
    found.models[result.model] += 1
    found.audio[result.audio] += 1
    named: list[Event | Box | Mask] = [*result.events, *result.boxes]
    named += [mask for mask in result.masks if mask.area_px]
    found.labels.update({one.label for one in named})
    found.notes.update(set(result.notes))
    found.doubtful += bool(result.consistency)
    if len(found.results) < found.shown:
        found.results.append(result)


def _take_failure(found: Gathered, text: bytes, path: Path) -> None:
    names = ("id", "task", "stage", "error", "message")
    try:
        row = json.loads(text)
        failure = {name: str(row[name]) for name in names}
    except (ValueError, KeyError, TypeError) as err:
        found.broken.append((_name(found, path), f"a failure that cannot be read: {_told(err)}"))
        return
    found.failed += 1
    if len(found.failures) < found.shown:
        found.failures.append(failure)


def _count_torn(found: Gathered, folder: Path) -> None:
    """Say how many lines are no rows: a run that goes on mends a torn last one."""
    for name in (RESULTS, ERRORS):
        path = folder / name
        if not path.is_file():
            continue
        with path.open("rb") as file:
            lines = sum(1 for _ in file)
        torn = lines - sum(1 for _ in rows_of(path))
        if torn:
            found.broken.append((_name(found, path), f"{torn} of {lines} lines are no rows"))


def _read_run(found: Gathered, path: Path) -> None:
    document = _document(found, path)
    if document is None:
        return
    found.runs.append(document)
    arguments = document.get("arguments")
    source = arguments.get("source") if isinstance(arguments, dict) else None
    if isinstance(source, str) and Path(source).is_dir():
        found.clips.append(Path(source))


def _read_heads(found: Gathered, folder: Path) -> None:
    for path, schema in ((folder / HEADS, HEADS_SCHEMA), (folder / SURVEY, SURVEY_SCHEMA)):
        document = _document(found, path)
        if document is None:
            continue
        if document.get("schema") != schema:
            found.broken.append((_name(found, path), f"its schema is not '{schema}'"))
        elif schema == HEADS_SCHEMA:
            found.heads.append(HeadsFound(folder, document))
        else:
            found.surveys.append(document)
    if (folder / ROWS).is_file() and not (folder / SURVEY).exists():
        found.broken.append((_name(found, folder / ROWS), "the run was cut off: give the same command again"))


def _document(found: Gathered, path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is no file, or one that is broken."""
    text = _read(found, path) if path.is_file() else None
    if text is None:
        return None
    try:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("no JSON object")
    except ValueError as err:
        found.broken.append((_name(found, path), f"no JSON: {_told(err)}"))
        return None
    return document


def _read(found: Gathered, path: Path) -> bytes | None:
    try:
        if path.stat().st_size > _MOST_JSON_BYTES:
            raise OSError(None, f"more than {_MOST_JSON_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as err:
        found.broken.append((_name(found, path), err.strerror or str(err)))
        return None


def clip_of(found: Gathered, result: Result) -> Path | None:
    """The clip of a result below the folders of clips, or None; a name that leads out of them is none."""
    for folder in found.clips:
        path = folder / result.id
        try:
            if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
                return path
        except (OSError, ValueError):
            continue
    return None


def _name(found: Gathered, path: Path) -> str:
    return str(path.relative_to(found.source))


def _told(err: Exception) -> str:
    return f"{type(err).__name__}: {err}" if not isinstance(err, ValueError) else str(err)


def problems(found: Gathered) -> Iterator[str]:
    """What could not be read, one sentence a file, the same ones once."""
    for (name, why), times in Counter(found.broken).items():
        yield f"'{name}': {why}" + (f" ({times} times)" if times > 1 else "")
