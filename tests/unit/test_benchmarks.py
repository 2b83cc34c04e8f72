"""The scripts that wait for a GPU: what they build and that they run on small shapes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import qlora  # noqa: E402
import random_crab  # noqa: E402
import sam2  # noqa: E402
import world_scores  # noqa: E402


def parameters(config: object) -> int:
    from crab_core.nn.crab import CrabModel
    from crab_core.nn.stored import without_weights

    with without_weights():
        return sum(tensor.numel() for tensor in CrabModel(config).tensors().values())


def test_the_random_network_has_the_published_size() -> None:
    config = random_crab.config_of(tiny=False, layers=32)
    assert config.llm["hidden_size"] == 4096 and config.ilora.heads == 3
    assert 7.6e9 < parameters(config) < 8.0e9


@pytest.mark.parametrize(("size", "millions"), [("tiny", 39.0), ("large", 224.4)])
def test_the_random_sam2_has_the_published_size(size: str, millions: float) -> None:
    import torch
    from transformers import Sam2VideoModel

    with torch.device("meta"):
        model = Sam2VideoModel(sam2.config_of(size))
    assert sum(one.numel() for one in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1)


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (random_crab.write_random(tmp_path / name, tiny=True, layers=1) for name in ("one", "two"))
    assert one == two
    assert {name.partition("-")[0] for name in one.files} >= {"llm", "adapters.safetensors"}


def test_a_packed_one_opens_packed(tmp_path: Path) -> None:
    from crab_core.families._base import Precision
    from crab_core.families.crab import FAMILY
    from crab_core.weights.quantize import linears

    assert random_crab.write_random(tmp_path / "m", tiny=True, layers=1, is_packed=True).quantized == "4bit"
    assert linears(FAMILY.load(tmp_path / "m", Precision()).model.llm) == []


@pytest.mark.parametrize(("row", "changes"), [("ours", {}), ("kept_activations", {"checkpointing": False})])
def test_the_memory_that_a_dry_run_tells_is_that_of_a_gpu(row: str, changes: dict[str, Any], tmp_path: Path) -> None:
    from crab_core.train.estimate import plans
    from crab_core.weights.folder import Header, write_folder

    measured = json.loads((BENCHMARKS / "results" / "gpu" / "qlora.json").read_text())
    config = random_crab.config_of(tiny=False, layers=32).to_dict()
    write_folder(tmp_path / "model", Header(name="large", family="crab", config=config, licence="none"), {})
    labels = qlora.write_labels(tmp_path)
    settings = qlora.settings_of(tmp_path / "model", labels, device="cuda")
    told = plans(replace(settings, device="cpu", **changes))[0].memory / 2**30
    assert told == pytest.approx(measured["rows"][row]["peak_gib"], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("decode", ["--turns", "1", "--tokens", "2", "--prompt", "16"]),
        ("crab_7b", ["--device", "cpu", "--new-tokens", "4"]),
        ("qlora", ["--turns", "1", "--steps", "1"]),
    ],
)
def test_the_script_runs_on_small_shapes(script: str, words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, BENCHMARKS / f"{script}.py", "--tiny", *words, "--out", out]
    subprocess.run(command, check=True, timeout=600)
    report = json.loads(out.read_text())
    assert report["shapes"] == "tiny"
    if script == "decode":
        assert set(report["rows"]) == {"bare", "lora", "ilora", "published_loop", "ilora_fixed"}
    elif script == "qlora":
        assert set(report["rows"]) == {"ours", "published_loop", "kept_activations"}
    else:
        assert report["requests"]["infer again"]["reused_tokens"] > 0


def test_combinations_are_new_where_three_sounds_were_never_heard_together_in_training() -> None:
    from itertools import islice

    from crab_core.train.pool import PoolPlan
    from crab_core.world.bank import load_bank
    from crab_core.world.scene import sample_scene

    plan = PoolPlan("train", 300, 1, 0.15)
    heard = [{one.name for one in plan.scene(index).actors if one.heard} for index in range(plan.clips)]
    known = world_scores.trios(plan)
    chosen = {new: list(islice(world_scores.with_trios(known, 50, new=new), 8)) for new in (True, False)}
    for new, numbers in chosen.items():
        assert min(numbers) >= 50 and numbers == sorted(set(numbers))
        for index in numbers:
            scene = sample_scene("test", index, bank=load_bank(), seconds=10)
            told = world_scores.trios_of(scene)
            assert told and any(not any(set(three) <= others for others in heard) for three in told) == new
    assert not set(chosen[True]) & set(chosen[False])
    named = world_scores.tests(40, 2, None, {"clips": 300, "seed": 1, "short_share": 0.15})
    assert [len(one.chosen) for one in named.values() if one.chosen] == [8, 8]
    assert len(world_scores.tests(40, 2, None, None)) == len(named) - 2
