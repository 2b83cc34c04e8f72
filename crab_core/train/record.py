"""What a run writes about itself: resolved settings, versions, seed and the hash of the data, beside the weights."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from crab_core.errors import InputError, UsageError
from crab_core.train.settings import FileData, TrainSettings
from crab_core.weights.folder import sha256_of

RECORD = "run.json"
FREE, FREE_OF_DATA = ("keep", "track", "shard"), ("cache", "workers")  # which may be others when a run goes on
PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "opencv-python-headless")


def settings_document(settings: TrainSettings) -> dict[str, Any]:
    """The settings as plain JSON values."""
    document: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=_plain))
    return document


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else dict(value)  # type: ignore[call-overload]


def data_hash(settings: TrainSettings) -> str:
    """The first 16 digits of the sha256 of all annotation files of a run; raises InputError if one cannot be read."""
    assert isinstance(settings.data, FileData)
    digest = hashlib.sha256()
    for path in (*settings.data.files, *settings.data.av_uie.values()):
        try:
            digest.update(sha256_of(path).encode())
        except OSError as err:
            raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err
    return digest.hexdigest()[:16]


def check_same_run(out: Path, settings: TrainSettings, *, resume: bool, data: str = "") -> None:
    """Raises UsageError if `out` holds a run with other settings or files, or one that should not be gone on with."""
    record = out / RECORD
    if not record.exists():
        return
    if not resume:
        raise UsageError(f"'{out}' holds a run already", hint="Give another folder with --out, or go on with --resume.")
    before = _recorded(record)
    now = settings_document(settings)
    for document in (before, now):
        for key in FREE:
            document.pop(key, None)
        for key in FREE_OF_DATA:
            document.get("data", {}).pop(key, None)
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        raise UsageError(
            f"'{out}' holds a run with other settings: {', '.join(changed)}", hint="Give another folder with --out."
        )
    if data and _document(record).get("data") != data:
        raise UsageError(
            f"'{out}' holds a run on other data: an annotation file has changed", hint="Give another folder with --out."
        )


def _recorded(record: Path) -> dict[str, Any]:
    """The settings that a run wrote down; raises UsageError if they cannot be read."""
    try:
        return dict(_document(record)["settings"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise UsageError(
            f"the record of a run '{record}' cannot be read: {err}", hint="Give another folder with --out."
        ) from err


def _document(record: Path) -> dict[str, Any]:
    return dict(json.loads(record.read_text(encoding="utf-8")))


def write_run(out: Path, settings: TrainSettings, data: str) -> None:
    """Writes `run.json` in one step; `data` is the hash of the files or of the generator.

    Raises UsageError if `out` is no folder that can be written.
    """
    document = {
        "settings": settings_document(settings),
        "data" if settings.network is None else "generator": data,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }
    fresh = out / f"{RECORD}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        fresh.replace(out / RECORD)
    except OSError as err:
        raise UsageError(
            f"cannot write into the folder '{out}': {err.strerror}", hint="Give another folder with --out."
        ) from err
