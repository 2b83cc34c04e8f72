"""Files that are put in place whole."""

from __future__ import annotations

import os
from pathlib import Path

from crab_core.errors import ResourceError


def replace_file(path: Path, data: bytes, *, hint: str = "Choose another --out.") -> None:
    """Write a whole file so that a reader sees the old one or the new one; raises ResourceError if it cannot be."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as err:
        part.unlink(missing_ok=True)
        raise ResourceError(f"cannot write '{path}': {err.strerror}", hint=hint) from err
