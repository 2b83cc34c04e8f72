"""`run.json`: what was asked of a run, with which versions and weights, and how far it came."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from crab_core import __version__
from crab_core.batch.journal import RUN
from crab_core.batch.run import Summary
from crab_core.files import replace_file
from crab_core.weights.folder import HEADER, read_header

SCHEMA = "crab.run/1"
_PACKAGES = ("torch", "transformers", "peft", "av", "numpy")


def model_hash(folder: Path) -> str:
    """sha256 of a model folder's header, which holds the sha256 of every other file; raises ModelError without one."""
    read_header(folder)
    return hashlib.sha256((folder / HEADER).read_bytes()).hexdigest()


def write_run(out: Path, arguments: Mapping[str, Any], model: Path, summary: Summary) -> None:
    """Write `run.json`, whole or not at all; raises ResourceError if the disk does not take it."""
    document = {
        "schema": SCHEMA,
        "arguments": dict(arguments),
        "model": {"name": read_header(model).name, "sha256": model_hash(model)},
        "versions": _versions(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": summary.state,
        "clips": {
            "total": summary.total,
            "done": summary.done,
            "failed": summary.failed,
            "resumed": summary.resumed,
            "copied": summary.copied,
        },
        "seconds": round(summary.seconds, 3),
        "clips_per_s": round(summary.rate, 3),
        "stages_s": {stage: round(spent_s, 3) for stage, spent_s in summary.stages_s.items()},
    }
    replace_file(out / RUN, json.dumps(document, indent=2, default=str).encode("utf-8") + b"\n")


def _versions() -> dict[str, str]:
    return {
        "crab": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }
