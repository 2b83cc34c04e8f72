"""The ablation: its arms are what the page says, its decisions follow the page's rule, and all of it runs, twice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import ablation  # noqa: E402
import ablation_arms as arms  # noqa: E402

PAGE = (BENCHMARKS / "ablation.md").read_text()


def test_both_adapters_have_as_many_parameters_that_count() -> None:
    many, one = (arms.adapter_parameters(one, arms.FULL.network, idle=False) for one in (arms.ILORA, arms.LORA))
    assert abs(many - one) / many < 0.01
    for count in (many, one):
        assert f"{count:,}".replace(",", " ") in PAGE.replace("\n  ", " ")


def test_the_arms_differ_in_what_their_claims_are_about() -> None:
    first = arms.settings_of(arms.FULL, arms.ARMS[0], arms.JOINT, 1)["stages"][-1]
    for arm, differs in zip(arms.ARMS[1:], ({"ilora"}, {"tasks", "samples"}, {"reasoning"}), strict=True):
        own = arms.settings_of(arms.FULL, arm, arm.parts[0], 1)["stages"][-1]
        assert {key for key in first if first[key] != own[key]} == differs
    assert sum(part.samples for part in arms.APART) == arms.JOINT.samples
    base = arms.base_settings(arms.FULL)["stages"]
    assert arms.FULL.clips_asked * 4 * 3 == 5400 and "5 400 an arm" in PAGE
    assert [set(stage["tasks"]) for stage in base if stage["kind"] == "language"] == [{"avcap"}]
    for arm in arms.ARMS:
        assert f"| `{arm.name}` |" in PAGE
    for number in (arms.FULL.clips, arms.FULL.clips_asked, arms.FULL.clips_of_events, *arms.FULL.steps.values()):
        assert f"{number:,}".replace(",", " ") in PAGE


def test_the_settings_of_every_training_are_valid(tmp_path: Path) -> None:
    import yaml

    from crab_core.config import load_config
    from crab_core.train.settings import TrainSettings

    for size in (arms.FULL, arms.QUICK):
        every = [arms.settings_of(size, arm, part, 0) for arm in arms.ARMS for part in arm.parts]
        for settings in [arms.base_settings(size), *every]:
            (tmp_path / "c.yaml").write_text(yaml.safe_dump(settings))
            assert load_config(TrainSettings, tmp_path / "c.yaml", []).stages[-1].steps


def made(shares: dict[str, list[float]], clips: int = 400) -> dict[str, dict[int, dict[str, Any]]]:
    """Arms whose metrics are about these shares, by seed."""
    rng = np.random.default_rng(0)
    luck = rng.random(clips)

    def one(share: float) -> dict[str, Any]:
        hits = (luck < share).astype(float)
        shared = [[hit, 1.0] for hit in hits]
        types = {"Counting": [hits.sum(), clips]}
        return {"avqa": shared, "ave": shared, "avvp": [[hit, 1 - hit, 0.0] for hit in hits], "types": types}

    return {name: {seed: one(share) for seed, share in enumerate(by_seed)} for name, by_seed in shares.items()}


@pytest.mark.parametrize(
    ("joint", "lora", "majority", "decision"),
    [
        pytest.param([0.8, 0.8, 0.8], [0.6, 0.6, 0.6], 0.3, "supported", id="above"),
        pytest.param([0.6, 0.6, 0.6], [0.8, 0.8, 0.8], 0.3, "contradicted", id="below"),
        pytest.param([0.7, 0.7, 0.7], [0.7, 0.7, 0.7], 0.3, "undecided", id="equal"),
        pytest.param([0.9, 0.9, 0.6], [0.7, 0.7, 0.7], 0.3, "undecided", id="one-seed-below"),
        pytest.param([0.8, 0.8, 0.8], [0.5, 0.5, 0.5], 0.6, "uninformative (supported)", id="not-above-majority"),
    ],
)
def test_decisions_follow_the_rule(joint: list[float], lora: list[float], majority: float, decision: str) -> None:
    found = made({"ilora-joint": joint, "lora-joint": lora, "ilora-separate": joint, "ilora-direct": joint})
    plain = made({"m": [majority] * 3})["m"]
    report = ablation.summary(
        found, {seed: {"questions": 400, "sums": one["avqa"], "types": one["types"]} for seed, one in plain.items()}
    )
    assert report["questions"] == 1200 and report["majority_types"]["Counting"][1] == 1200
    assert report["types"]["lora-joint"]["Counting"][0] == pytest.approx(
        np.mean(report["values"]["lora-joint"]["avqa"])
    )
    claim = report["claims"]["a: heads"]
    assert claim["decision"] == decision
    told = claim["differences"]["mean"]
    assert told["low"] <= told["value"] <= told["high"] and len(told["seeds"]) == 3
    assert told["value"] == pytest.approx(
        np.mean([np.mean(one) for one in report["values"]["ilora-joint"].values()])
        - np.mean([np.mean(one) for one in report["values"]["lora-joint"].values()])
    )


def test_clips_are_drawn_within_each_seed() -> None:
    """A seed that differs from the others in its clips alone: whole clips of other seeds never stand in for them."""
    found = made({arm.name: [0.5, 0.5, 0.5] for arm in arms.ARMS})
    for sums in found["ilora-joint"].values():
        for name in ("avqa", "ave"):
            sums[name] = [[1.0, 1.0]] * len(sums[name])
    for sums in found["lora-joint"].values():
        for name in ("avqa", "ave"):
            sums[name] = [[0.0, 1.0]] * len(sums[name])
    plain = {seed: {"questions": 4, "sums": [[0.0, 1.0]] * 400, "types": {}} for seed in (0, 1, 2)}
    told = ablation.summary(found, plain)["claims"]["a: heads"]["differences"]
    assert told["avqa"]["low"] == told["avqa"]["high"] == 1.0
    assert told["avvp"]["low"] == told["avvp"]["high"] == 0.0, "both arms have the same draws"


def test_the_start_has_the_senses_of_mini_and_a_new_llm(tmp_path: Path) -> None:
    import yaml
    from ablation_start import write_start

    from crab_core.train.network import ROW_SCALE, read_model, senses_key, soften

    (tmp_path / "c.yaml").write_text(yaml.safe_dump(arms.base_settings(arms.FULL)))
    write_start(tmp_path, tmp_path / "c.yaml")
    start, mini = read_model(tmp_path / arms.START), read_model(arms.MINI)
    assert start.config.ilora is None and not start.capabilities and 0 < ROW_SCALE < 1
    llm = "llm.model.layers.0.mlp.up_proj.weight"
    shapes = {name: one.shape for name, one in start.state_dict().items()}
    assert {shapes[f"llm.model.layers.{layer}.mlp.up_proj.weight"] for layer in range(4)} == {(512, 192)}
    assert abs(start.state_dict()[llm].std() - 0.05) < 0.002, "an LLM with the random weights of its config"
    assert senses_key(start) != senses_key(mini), "as they were before a new LLM met them"
    soften(start)  # which is what the trainer does before captions
    for part in ("visual_encoder", "audio_encoder", "vl_projector", "al_projector", "video_tags", "audio_tags"):
        for mine, its in zip(getattr(start, part).parameters(), getattr(mini, part).parameters(), strict=True):
            assert (mine - its).abs().max() <= 1e-3 * its.abs().max()


def test_the_page_shows_the_results_that_lie_beside_it() -> None:
    report = json.loads((BENCHMARKS / "results" / "ablation.json").read_text())
    assert ablation.tables(report) in PAGE
    assert report["questions"] == 5400 and report["seeds"] == [0, 1, 2]
    for claim in report["claims"].values():
        assert claim["decision"].startswith("uninformative") == (min(claim["above_majority"]) <= 0)


@pytest.mark.slow
def test_all_of_it_runs_and_goes_on(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    words = [sys.executable, str(BENCHMARKS / "ablation.py"), "--quick", "--seeds", "0"]
    words += ["--out", str(tmp_path / "out"), "--page", str(page)]
    said = []
    for _ in range(2):
        done = subprocess.run(words, capture_output=True, text=True, timeout=580, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        said.append(done.stderr)
    assert "arm 2/2" in said[0] and "steps" not in said[1] and said[1] == "", "the second run asks and trains nothing"
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(report["values"]) == {arm.name for arm in arms.ARMS} and report["seeds"] == [0]
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| **c: reasons** |" in text and text.count("| ilora-direct |") == 2, "in the tables of arms and of types"
    trained = json.loads((tmp_path / "out" / "lora-joint-joint-0" / "model" / "crab.json").read_text())["training"]
    assert trained["parameters"]["ilora"] == arms.adapter_parameters(arms.LORA, arms.QUICK.network)
