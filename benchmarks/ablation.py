"""The paper's claims tested in the generated world, as benchmarks/ablation.md fixes before any run.

python benchmarks/ablation.py --out runs/ablation            # goes on where it was; writes the tables into ablation.md
python benchmarks/ablation.py --quick --out runs/quick       # minutes: a tiny network, to see that everything runs
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ablation_arms as arms
import numpy as np
import record
import yaml
from ablation_start import write_start
from ablation_tables import Sums, summary, tables

from crab_core.evaluate import answers, localization, parsing
from crab_core.evaluate.bootstrap import Counts
from crab_core.evaluate.rows import QaRow
from crab_core.evaluate.world_runner import WorldRun, WorldTest
from crab_core.progress import Listener, Note, Progress

if TYPE_CHECKING:
    from crab_core.engine.session import Model
    from crab_core.families._base import Encoded

PAGE = Path(__file__).with_suffix(".md")
MARKS = ("<!-- results -->", "<!-- /results -->")
COMMON = (*arms.BASE_STAGES, "tokenizer")


@dataclass
class Ablation:
    """Everything of one run of the ablation: its sizes and its folder."""

    size: arms.Size
    out: Path
    on_progress: Listener
    looked: dict[tuple[int, str], list[Encoded]] = field(default_factory=dict)  # clips as models of the same senses see

    def run(self, seeds: Sequence[int]) -> dict[str, Any]:
        """Trains and asks what is not done yet; gives the results of all arms, with the decisions."""
        base = self._trained("base", arms.base_settings(self.size), None)
        found: dict[str, dict[int, Sums]] = {}
        for seed in seeds:
            for arm in arms.ARMS:
                found.setdefault(arm.name, {})[seed] = self._arm(arm, seed, base)
        sizes = {arm.name: arms.adapter_parameters(arm.ilora, self.size.network, idle=False) for arm in arms.ARMS}
        frozen = sum(json.loads((base / "model" / "crab.json").read_text())["training"]["parameters"].values())
        shares = {arm: size / (frozen + size) for arm, size in sizes.items()}
        majority = {seed: json.loads(self._majority(seed).read_text()) for seed in seeds}
        told = {"seeds": list(seeds), "parameters": sizes, "shares": shares, "start": start_hash()}
        return {**record.stamp(), **told, **summary(found, majority)}

    def _trained(self, name: str, settings: Mapping[str, Any], base: Path | None) -> Path:
        """The folder of a run of `crab train`; from a base its finished stages and its cache are taken over."""
        from crab_core.train.loop import run

        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        if base is None:
            write_start(folder, config)
        elif not (folder / "model" / "crab.json").exists():
            for stage in COMMON:
                if not (folder / stage).exists():
                    shutil.copytree(base / ("model" if stage == arms.BASE_STAGES[-1] else stage), folder / stage)
            if not (folder / "cache").exists():
                (folder / "cache").symlink_to((base / "cache").resolve())
        run(config, out=folder, on_progress=self.on_progress)
        return folder

    def _arm(self, arm: arms.Arm, seed: int, base: Path) -> Sums:
        """What an arm said under a seed, from its file if it is done."""
        done = self.out / "results" / f"{arm.name}-{seed}.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        sums: dict[str, Any] = {}
        for part in arm.parts:
            folder = self._trained(f"{arm.name}-{part.name}-{seed}", arms.settings_of(self.size, arm, part, seed), base)
            sums |= self._asked(folder / "model", part.asked, seed, direct=arm.reasoning == 0)
        _write(done, sums)
        return sums

    def _majority(self, seed: int) -> Path:
        return self.out / "results" / f"majority-{seed}.json"

    def _asked(self, model: Path, tasks: Sequence[str], seed: int, *, direct: bool) -> dict[str, Any]:
        from crab_core.engine.session import load

        loaded = load(model, device="cpu")
        usual = WorldTest(seed=seed, clips=self.size.clips_asked, questions=4, batch=64, direct=direct)
        found: dict[str, Any] = {}
        if "avqa" in tasks:
            run = self._looking(loaded, usual)
            rows = run.answers()
            found |= {"avqa": self._by_clip(answers.accuracy(rows)), "types": by_type(rows)}
            if not self._majority(seed).exists():
                plain = run.majority(rows)
                told = {"sums": self._by_clip(answers.accuracy(plain)), "types": by_type(plain)}
                _write(self._majority(seed), {"questions": len(rows), **told})
        run = self._looking(loaded, replace(usual, clips=self.size.clips_of_events))
        if "ave" in tasks:
            found["ave"] = self._by_clip(localization.second_accuracy(run.events("ave")))
        if "avvp" in tasks:
            rows_of = run.events("avvp")
            tracks = [self._by_clip(parsing.segment_f1(rows_of, track)) for track in ("audio", "visual")]
            found["avvp"] = np.add(*map(np.array, tracks)).tolist()
        return found

    def _looking(self, model: Model, test: WorldTest) -> WorldRun:
        """A run of a test; its clips are looked at once for all models whose encoders and projectors are the same."""
        from crab_core.train.network import senses_key

        run = WorldRun(model, test, self.on_progress)
        key = (test.seed, senses_key(model.network.model))  # type: ignore[attr-defined]
        if key not in self.looked:
            every = WorldRun(model, replace(test, clips=self.size.clips_asked), self.on_progress)
            self.looked = {key: every.encoded}  # those of one seed
        run.encoded = self.looked[key][: test.clips]
        return run

    def _by_clip(self, counts: Counts) -> list[list[float]]:
        """The counts of every clip of the test by its number, zeros for one that was not asked."""
        table = np.zeros((self.size.clips_asked, counts.table.shape[1]))
        np.add.at(table, [int(clip) for clip in counts.clips], counts.table)
        return [[float(value) for value in row] for row in table]


def by_type(rows: Sequence[QaRow]) -> dict[str, list[int]]:
    """How many answers to each type of question are right, and how many there are."""
    found: dict[str, list[int]] = {}
    for row in rows:
        right, asked = found.get(row.type, (0, 0))
        found[row.type] = [right + row.is_right, asked + 1]
    return found


def start_hash() -> str:
    """The first 16 digits of the sha256 of mini's weights, whose senses the base has."""
    from crab_core.weights.folder import sha256_of

    return sha256_of(arms.MINI / "model.safetensors")[:16]


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """The document as JSON, there as a whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(".part")
    fresh.write_text(json.dumps(document))
    fresh.replace(path)


def put(page: Path, text: str) -> None:
    """Puts the tables between the page's marks."""
    before, _, rest = page.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n\n{text}\n{MARKS[1]}{after}")


def tell(told: Progress | Note) -> None:
    """Progress on stderr."""
    if isinstance(told, Progress):
        print(f"{told.stage} {told.done}/{told.total} {told.detail}", file=sys.stderr)


def main() -> None:
    """Runs what is not done, writes results.json and the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="where the tables go between the marks; ablation.md if not --quick")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="a tiny network and few clips: no result")
    options = parser.parse_args()
    size = arms.QUICK if options.quick else arms.FULL
    report = Ablation(size, options.out, tell).run(options.seeds)
    (options.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    text = tables(report)
    page = options.page or (None if options.quick else PAGE)
    if page is not None:
        put(page, text)
    print(text, end="")


if __name__ == "__main__":
    main()
