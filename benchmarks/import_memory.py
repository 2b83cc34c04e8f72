"""Peak memory of `crab models import crab-7b` beside the largest file that it reads; of an import of nothing too.

    python benchmarks/random_release.py release                        # about 19 GB
    python benchmarks/import_memory.py release model --out benchmarks/results/import_memory.json

`process_memory.py` says how memory is measured. `before` is the same process up to where it opens the files: Python,
torch, transformers. The bar of 1.3 is for all memory, mapped files too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from process_memory import watched
from record import add_out, machine, tell, today

BAR = 1.3
MIB = 1 << 20
CRAB = "from crab_cli.app import main; main()"
IMPORTS = (
    "import torch, transformers.models.llama, crab_core.families.crab_import, crab_core.nn.clip, crab_core.nn.beats"
)
ROLES = {
    "--llm": "llm",
    "--clip": "clip",
    "--beats": "beats.pt",
    "--finetune": "finetune_weights.bin",
    "--avs": "avs_finetune_weights.bin",
    "--avss": "avss_finetune_weights.bin",
}


def report_of(release: Path, out: Path) -> dict[str, Any]:
    """Import the release and compare."""
    sizes = {path.relative_to(release).as_posix(): path.stat().st_size for path in release.rglob("*") if path.is_file()}
    largest = max(sizes, key=lambda name: sizes[name])
    words = [sys.executable, "-c", CRAB, "models", "import", "crab-7b", "-o", str(out)]
    for option, name in ROLES.items():
        words += [option, str(release / name)]
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        before = watched([sys.executable, "-c", IMPORTS], log)
        peak = watched(words, log)
    over = {name: round(mib * MIB / sizes[largest], 3) for name, mib in (("own", peak.own_mib), ("rss", peak.rss_mib))}
    return {
        "benchmark": "import_memory",
        "release_mib": sum(sizes.values()) // MIB,
        "largest_file": largest,
        "largest_file_mib": sizes[largest] // MIB,
        "folder_mib": sum(path.stat().st_size for path in out.iterdir()) // MIB,
        "before": before.to_dict(),
        "import": peak.to_dict(),
        "over_largest_file": over,
        "bar": BAR,
        "within_bar": over["rss"] < BAR,
        "machine": machine(),
        "date": today(),
    }


def main() -> None:
    """Measure, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("model", type=Path, help="the model folder to write")
    add_out(parser)
    given = parser.parse_args()
    tell(report_of(given.release, given.model), given.out)


if __name__ == "__main__":
    main()
