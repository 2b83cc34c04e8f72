"""What the ablation's counts say: metrics, differences with intervals, decisions, and their tables in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ablation_arms as arms
import numpy as np

DRAWS = 1000
METRICS = ("avqa", "ave", "avvp")
TYPES = ("Counting", "Existential", "Location", "Comparative", "Temporal")
Sums = Mapping[str, Any]  # by metric, for each clip of the seed the counts that are added up; `types` adds up all clips
Drawn = Callable[[str, Sequence[Sequence[float]], int], "np.ndarray[Any, Any]"]


def value(metric: str, sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The metric of sums (..., counts): a share, or for avvp an F1."""
    if metric == "avvp":
        return np.asarray(2 * sums[..., 0] / np.maximum(2 * sums[..., 0] + sums[..., 1] + sums[..., 2], 1))
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))


def summary(found: Mapping[str, Mapping[int, Sums]], majority: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of each arm, and each claim's difference with its interval and decision.

    `found` is by arm and seed, `majority` by seed: the `questions` asked, and the most frequent answers' `sums` by clip
    and `types`. Clips are drawn within each seed, the same for all arms.
    """
    draws = {}
    for seed, plain in majority.items():
        clips = len(plain["sums"])
        rng = np.random.default_rng([seed, 5])
        draws[seed] = rng.multinomial(clips, np.full(clips, 1 / clips), size=DRAWS)  # (draws, clips)

    def drawn(metric: str, sums: Sequence[Sequence[float]], seed: int) -> np.ndarray[Any, Any]:
        """The metric of all clips of a seed, then of each draw: (1 + draws,)."""
        table = np.array(sums)
        return value(metric, np.concatenate([table.sum(0)[None], draws[seed] @ table]))

    chance = {seed: drawn("avqa", plain["sums"], seed) for seed, plain in majority.items()}
    return {
        "questions": sum(plain["questions"] for plain in majority.values()),
        "majority": float(np.mean([one[0] for one in chance.values()])),
        "majority_types": _by_type({"": majority})[""],
        "values": {
            arm: {
                metric: [float(drawn(metric, one[metric], seed)[0]) for seed, one in by_seed.items()]
                for metric in METRICS
            }
            for arm, by_seed in found.items()
        },
        "types": _by_type(found),
        "claims": {claim.name: _claim(claim, found, chance, drawn) for claim in arms.CLAIMS},
    }


def _by_type(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, dict[str, list[float]]]:
    """For each arm the share of right answers and the number of questions of each type, over all seeds."""
    told = {}
    for arm, by_seed in found.items():
        sums = {kind: np.sum([one["types"].get(kind, (0, 0)) for one in by_seed.values()], axis=0) for kind in TYPES}
        told[arm] = {kind: [float(right / max(asked, 1)), int(asked)] for kind, (right, asked) in sums.items()}
    return told


def _claim(
    claim: arms.Claim,
    found: Mapping[str, Mapping[int, Sums]],
    chance: Mapping[int, np.ndarray[Any, Any]],
    drawn: Drawn,
) -> dict[str, Any]:
    metrics = {name: [name] for name in claim.metrics}
    if len(claim.metrics) > 1:
        metrics["mean"] = list(claim.metrics)
    mine, others = found[claim.arm], found[claim.other]
    told = {}
    for name, parts in metrics.items():
        each = [
            np.mean([drawn(one, mine[seed][one], seed) - drawn(one, others[seed][one], seed) for one in parts], axis=0)
            for seed in chance
        ]
        told[name] = _difference(each)
    above = [
        float(
            np.quantile(
                np.mean([drawn("avqa", arm[seed]["avqa"], seed) - chance[seed] for seed in chance], 0)[1:], 0.025
            )
        )
        for arm in (mine, others)
    ]
    decided = told[claim.primary]["decision"]
    return {
        "arm": claim.arm,
        "other": claim.other,
        "differences": told,
        "above_majority": above,
        "decision": decided if min(above) > 0 else f"uninformative ({decided})",
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
        "| arm | adapter | of all weights | AVQA | AVE per second | AVVP F1 |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for arm, values in report["values"].items():
        cells = [f"{np.mean(values[name]):.3f} ({min(values[name]):.3f}-{max(values[name]):.3f})" for name in METRICS]
        parameters, share = report["parameters"][arm], report["shares"][arm]
        lines.append(f"| {arm} | {parameters} | {share:.1%} | {' | '.join(cells)} |")
    lines += ["", "| claim | metric | difference | 95 % interval | each seed | decision |", "| --- |" + " --- |" * 5]
    for name, claim in report["claims"].items():
        for metric, one in claim["differences"].items():
            seeds = ", ".join(f"{seed:+.3f}" for seed in one["seeds"])
            row = f"| {name} | {metric} | {one['value']:+.3f} | {one['low']:+.3f} to {one['high']:+.3f} | {seeds} |"
            lines.append(f"{row} {one['decision']} |")
        lines.append(f"| **{name}** | | | | | **{claim['decision']}** |")
    lines += ["", f"| AVQA by type | {' | '.join(TYPES)} |", "| --- |" + " --: |" * len(TYPES)]
    plain = report["majority_types"]
    lines.append(f"| questions | {' | '.join(str(plain[kind][1]) for kind in TYPES)} |")
    for arm, types in {"majority": plain, **report["types"]}.items():
        lines.append(f"| {arm} | {' | '.join(f'{types[kind][0]:.3f}' for kind in TYPES)} |")
    return "\n".join(lines) + "\n"
