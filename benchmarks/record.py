"""What every benchmark says beside its figures, and where it says them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path


def commit() -> str:
    """The short hash of the commit that was measured, empty outside a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def machine() -> str:
    """The kind of machine and its cores: `x86_64 Linux, 2 cores`."""
    return f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores"


def today() -> str:
    """The date, as 2026-01-31."""
    return datetime.now(tz=UTC).date().isoformat()


def stamp() -> dict[str, object]:
    """Threads and version of torch, machine, commit and date."""
    import torch

    return {
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": today(),
    }


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option that `tell` looks at."""
    parser.add_argument("--out", type=Path, help="write the JSON there and not to stdout")


def tell(report: Mapping[str, object], out: Path | None) -> None:
    """The report as JSON: into a file, whose folder is made, or on stdout."""
    text = json.dumps(report, indent=2) + "\n"
    if out is None:
        print(text, end="")
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
