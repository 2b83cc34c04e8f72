"""Measures what the heads of a model are worth on clips of the generated world that it never saw.

python benchmarks/heads.py --model mini --clips 40 --out heads

On two cores under ten minutes. With --out benchmarks/results, `python docs/heads_card.py` then writes the figures into
docs/heads.md.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from record import commit

from crab_core.engine.heads import inside_of
from crab_core.engine.session import load
from crab_core.evaluate.heads_router_tables import likeness
from crab_core.evaluate.heads_world import evaluate_heads
from crab_core.evaluate.report import Report, write_report
from crab_core.evaluate.world_runner import WorldTest
from crab_core.progress import Note, Progress
from crab_core.world.bank import load_bank
from crab_core.world.scene import fingerprint


def tell(told: Progress | Note) -> None:
    """Progress on stderr."""
    if isinstance(told, Progress):
        print(f"{time.process_time():.0f} s of CPU: {told.stage} {told.done}/{told.total}", file=sys.stderr)


def main() -> None:
    """Measures, writes heads.json and heads.md, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--questions", type=int, default=1, help="on each clip")
    parser.add_argument("--checks", type=int, default=12, help="answers whose maps are checked by hiding")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    test = WorldTest(split=options.split, clips=options.clips, questions=options.questions, batch=16)
    started, model = time.monotonic(), load(options.model, device="cpu")
    tables = evaluate_heads(model, test, options.checks, tell)
    facts = {
        "model": options.model,
        "generator": fingerprint(load_bank()),
        "split, clips, questions": f"{options.split}, {options.clips}, {options.questions}",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, no GPU",
        "seconds of CPU, and in all": f"{time.process_time():.0f}, {time.monotonic() - started:.0f}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        **likeness(inside_of(model)),
    }
    report = Report(f"Heads of {options.model} on the generated world", facts, tables)
    write_report(report, options.out, "heads")
    print(report.to_markdown())


if __name__ == "__main__":
    main()
