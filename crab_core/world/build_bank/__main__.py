"""The builder's command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from crab_core.errors import CrabError
from crab_core.progress import Note, Progress
from crab_core.world.build_bank import build


def main() -> int:
    """Builds the bank; 0, or the exit code of the error told on stderr."""
    parser = argparse.ArgumentParser(prog="python -m crab_core.world.build_bank", description="Build the world's bank.")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="where to write the .npz")
    parser.add_argument("--held-out", action="store_true", help="the style and the font that only tests see")
    options = parser.parse_args()
    try:
        build(options.output, held_out=options.held_out, listen=_tell)
    except CrabError as err:
        sys.stderr.write(f"error: {err}\n")
        return err.exit_code
    return 0


def _tell(heard: Progress | Note) -> None:
    text = heard.text if isinstance(heard, Note) else f"{heard.done}/{heard.total} {heard.unit} {heard.detail}"
    sys.stderr.write(f"{text.rstrip()}\n")


if __name__ == "__main__":
    sys.exit(main())
