"""Scores a model on clips of the generated world that it never saw, each number with its baselines beside it.

python benchmarks/world_scores.py --model mini --clips 1000 --out scores
python -m crab_core.world.build_bank --held-out -o held_out.npz        # a drawing style and a sound font kept out
python benchmarks/world_scores.py --model mini --held-out held_out.npz --out scores
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations, count, islice, repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dataclasses import replace

from record import commit

from crab_core.engine.session import load
from crab_core.evaluate.moment_runner import evaluate_moments
from crab_core.evaluate.report import Report, Table, write_report
from crab_core.evaluate.world_runner import SECONDS, WorldTest, evaluate_world
from crab_core.progress import Note, Progress
from crab_core.train.pool import PoolPlan
from crab_core.world.bank import load_bank
from crab_core.world.scene import fingerprint, sample_scene
from crab_core.world.spec import Scene

Three = tuple[str, ...]  # three sounds, by the alphabet


def tests(
    clips: int, questions: int, held_out: Path | None, training: Mapping[str, Any] | None
) -> dict[str, WorldTest]:
    """What is measured, by the name that stands behind each table's title."""
    usual = WorldTest(clips=clips, questions=questions, batch=64, other_clip=False)
    few = replace(usual, clips=max(1, clips // 5))
    named = {
        "unseen clips": usual,
        "unseen clips, phrasings never trained on": replace(few, held_out_phrasing=True, other_clip=True),
        "unseen backgrounds, turns and hues": replace(few, split="geometry"),
    }
    if held_out is not None:
        named["unseen drawing style"] = replace(few, drawings=held_out)
        named["unseen sound font"] = replace(few, recordings=held_out)
    if training is not None:
        known = trios(PoolPlan("train", training["clips"], training["seed"], training["short_share"]))
        for new in (True, False):
            name = f"three sounds or more, {'never' if new else 'also'} heard together in training"
            named[name] = replace(few, chosen=tuple(islice(with_trios(known, clips, new=new), few.clips)))
    return named


def trios(plan: PoolPlan) -> set[Three]:
    """Which three sounds are heard in one and the same clip of a training."""
    return {three for index in range(plan.clips) for three in trios_of(plan.scene(index))}


def trios_of(scene: Scene) -> set[Three]:
    """All choices of three of the sounds of a scene."""
    return set(combinations(sorted({one.name for one in scene.actors if one.heard}), 3))


def with_trios(known: set[Three], start: int, *, new: bool) -> Iterator[int]:
    """The numbers from `start` on of test clips with three sounds or more, some of them, or none, `new` together."""
    bank = load_bank()
    for index in count(start):
        heard = trios_of(sample_scene("test", index, bank=bank, seconds=SECONDS))
        if heard and bool(heard - known) == new:
            yield index


def tell(told: Progress | Note) -> None:
    """Progress on stderr."""
    if isinstance(told, Progress):
        print(f"{told.stage} {told.done}/{told.total}", file=sys.stderr)


def measured(model: str, name: str, test: WorldTest) -> list[Table]:
    """The tables of one test, on one core."""
    import torch

    torch.set_num_threads(1)
    loaded = load(model, device="cpu")
    tables = [*evaluate_world(loaded, test, tell)]
    if not test.held_out_phrasing:  # questions about pictures have one wording
        tables += evaluate_moments(loaded, replace(test, clips=max(1, test.clips // 2)), tell)
    return [replace(table, title=f"{table.title}, {name}") for table in tables]


def main() -> None:
    """Measures, writes metrics.json and metrics.md, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--questions", type=int, default=4, help="on each clip")
    parser.add_argument("--held-out", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    training = load(options.model, device="cpu").header.training.get("settings", {}).get("data", {})
    named = tests(options.clips, options.questions, options.held_out, training if "clips" in training else None)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        parts = workers.map(measured, repeat(options.model), named, named.values())
        tables = [table for part in parts for table in part]
    facts = {
        "model": options.model,
        "generator": fingerprint(load_bank()),
        "split and seed": "test, 0",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, no GPU",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
    }
    report = Report(f"Scores of {options.model} on the generated world", facts, tuple(tables))
    write_report(report, options.out)
    for table in tables:
        print(f"### {table.title}\n\n{table.to_markdown()}")


if __name__ == "__main__":
    main()
