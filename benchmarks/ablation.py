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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import ablation_arms as arms
import numpy as np
import record
import yaml

from crab_core.evaluate import answers, localization, parsing
from crab_core.evaluate.bootstrap import Counts
from crab_core.evaluate.world_runner import WorldRun, WorldTest
from crab_core.progress import Listener, Note, Progress

PAGE = Path(__file__).with_suffix(".md")
MARKS = ("<!-- results -->", "<!-- /results -->")
DRAWS = 1000
METRICS = ("avqa", "ave", "avvp")
Sums = Mapping[str, list[list[float]]]  # by metric, for each clip the counts that are added up


@dataclass(frozen=True)
class Ablation:
    """Everything of one run of the ablation: its sizes and its folder."""

    size: arms.Size
    out: Path
    on_progress: Listener

    def run(self, seeds: Sequence[int]) -> dict[str, Any]:
        """Trains and asks what is not done yet; gives the results of all arms, with the decisions."""
        base = self._trained("base", arms.base_settings(self.size), None)
        found: dict[str, dict[int, Sums]] = {}
        for seed in seeds:
            for arm in arms.ARMS:
                found.setdefault(arm.name, {})[seed] = self._arm(arm, seed, base)
        parameters = {arm.name: arms.adapter_parameters(arm.ilora, self.size.network, idle=False) for arm in arms.ARMS}
        majority = json.loads((self.out / "majority.json").read_text())
        return {**record.stamp(), "seeds": list(seeds), "parameters": parameters, **summary(found, majority)}

    def _trained(self, name: str, settings: Mapping[str, Any], base: Path | None) -> Path:
        """The folder of a run of `crab train`; from a base its finished stages are taken over."""
        from crab_core.train.loop import run

        folder = self.out / name
        folder.mkdir(parents=True, exist_ok=True)
        if base is not None and not (folder / "model" / "crab.json").exists():
            for stage in (*arms.BASE_STAGES, "tokenizer"):
                if not (folder / stage).exists():
                    shutil.copytree(base / ("model" if stage == arms.BASE_STAGES[-1] else stage), folder / stage)
            if not (folder / "cache").exists():
                (folder / "cache").symlink_to((base / "cache").resolve())
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        run(config, out=folder, on_progress=self.on_progress)
        return folder

    def _arm(self, arm: arms.Arm, seed: int, base: Path) -> Sums:
        """What an arm said under a seed, from its file if it is done."""
        done = self.out / "results" / f"{arm.name}-{seed}.json"
        if done.exists():
            return dict(json.loads(done.read_text()))
        sums: dict[str, list[list[float]]] = {}
        for part in arm.parts:
            folder = self._trained(f"{arm.name}-{part.name}-{seed}", arms.settings_of(self.size, arm, part, seed), base)
            sums |= self._asked(folder / "model", part.asked, direct=arm.reasoning == 0)
        done.parent.mkdir(exist_ok=True)
        fresh = done.with_suffix(".part")
        fresh.write_text(json.dumps(sums))
        fresh.replace(done)
        return sums

    def _asked(self, model: Path, tasks: Sequence[str], *, direct: bool) -> dict[str, list[list[float]]]:
        from crab_core.engine.session import load

        loaded = load(model, device="cpu")
        usual = WorldTest(clips=self.size.clips_asked, questions=4, batch=64, direct=direct)
        events = replace(usual, clips=self.size.clips_of_events)
        found: dict[str, list[list[float]]] = {}
        if "avqa" in tasks:
            run = WorldRun(loaded, usual, self.on_progress)
            rows = run.answers()
            found["avqa"] = self._by_clip(answers.accuracy(rows))
            if not (self.out / "majority.json").exists():
                told = self._by_clip(answers.accuracy(run.majority(rows)))
                (self.out / "majority.json").write_text(json.dumps({"questions": len(rows), "sums": told}))
        run = WorldRun(loaded, events, self.on_progress)
        if "ave" in tasks:
            found["ave"] = self._by_clip(localization.second_accuracy(run.events("ave")))
        if "avvp" in tasks:
            rows_of = run.events("avvp")
            tracks = [self._by_clip(parsing.segment_f1(rows_of, track)) for track in ("audio", "visual")]
            found["avvp"] = np.add(*map(np.array, tracks)).tolist()
        return found

    def _by_clip(self, counts: Counts) -> list[list[float]]:
        """The counts of every clip of the test by its number, zeros for one that was not asked."""
        table = np.zeros((self.size.clips_asked, counts.table.shape[1]))
        np.add.at(table, [int(clip) for clip in counts.clips], counts.table)
        return [[float(value) for value in row] for row in table]


def value(metric: str, sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The metric of sums (..., counts): a share, or for avvp an F1."""
    if metric == "avvp":
        return np.asarray(2 * sums[..., 0] / np.maximum(2 * sums[..., 0] + sums[..., 1] + sums[..., 2], 1))
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def summary(found: Mapping[str, Mapping[int, Sums]], majority: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of each arm, and each claim's difference with its interval and decision."""
    clips = len(majority["sums"])
    draws = np.random.default_rng(0).multinomial(clips, np.full(clips, 1 / clips), size=DRAWS)  # (draws, clips)

    def drawn(arm: str, seed: int, metric: str) -> np.ndarray[Any, Any]:
        """The metric of all clips, then of each draw: (1 + draws,)."""
        table = np.array(found[arm][seed][metric])
        return value(metric, np.concatenate([table.sum(0)[None], draws @ table]))

    values = {
        arm: {metric: [float(drawn(arm, seed, metric)[0]) for seed in by_seed] for metric in METRICS}
        for arm, by_seed in found.items()
    }
    plain = np.array(majority["sums"])
    chance = value("avqa", np.concatenate([plain.sum(0)[None], draws @ plain]))
    claims = {}
    for claim in arms.CLAIMS:
        metrics = {name: [name] for name in claim.metrics}
        if len(claim.metrics) > 1:
            metrics["mean"] = list(claim.metrics)
        told = {}
        for name, parts in metrics.items():
            each = [
                np.mean([drawn(claim.arm, seed, one) - drawn(claim.other, seed, one) for one in parts], axis=0)
                for seed in found[claim.arm]
            ]
            told[name] = _difference(each)
        above = [
            float(np.quantile(np.mean([drawn(arm, seed, "avqa") - chance for seed in found[arm]], 0)[1:], 0.025))
            for arm in (claim.arm, claim.other)
        ]
        decided = told[claim.primary]["decision"]
        claims[claim.name] = {
            "arm": claim.arm,
            "other": claim.other,
            "differences": told,
            "decision": decided if min(above) > 0 else f"uninformative ({decided})",
        }
    return {
        "questions": majority["questions"],
        "majority": float(chance[0]),
        "values": values,
        "claims": claims,
    }


def _difference(each: Sequence[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """The mean difference over seeds, its 95 % interval over clips, and what it decides."""
    mean = np.mean(each, axis=0)
    low, high = (float(one) for one in np.quantile(mean[1:], [0.025, 0.975]))
    seeds = [float(one[0]) for one in each]
    decision = "undecided"
    if low > 0 and min(seeds) > 0:
        decision = "supported"
    elif high < 0 and max(seeds) < 0:
        decision = "contradicted"
    return {"value": float(mean[0]), "low": low, "high": high, "seeds": seeds, "decision": decision}


def tables(report: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        f"{report['questions']} questions, seeds {', '.join(map(str, report['seeds']))}, {report['machine']}, "
        f"commit {report['commit']}, {report['date']}. The majority answers {report['majority']:.3f}.",
        "",
        "| arm | adapter | AVQA | AVE per second | AVVP F1 |",
        "| --- | --: | --: | --: | --: |",
    ]
    for arm, values in report["values"].items():
        cells = [f"{np.mean(values[name]):.3f} ({min(values[name]):.3f}-{max(values[name]):.3f})" for name in METRICS]
        lines.append(f"| {arm} | {report['parameters'][arm]} | {' | '.join(cells)} |")
    lines += ["", "| claim | metric | difference | 95 % interval | each seed | decision |", "| --- |" + " --- |" * 5]
    for name, claim in report["claims"].items():
        for metric, one in claim["differences"].items():
            seeds = ", ".join(f"{seed:+.3f}" for seed in one["seeds"])
            row = f"| {name} | {metric} | {one['value']:+.3f} | {one['low']:+.3f} to {one['high']:+.3f} | {seeds} |"
            lines.append(f"{row} {one['decision']} |")
        lines.append(f"| **{name}** | | | | | **{claim['decision']}** |")
    return "\n".join(lines) + "\n"


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
