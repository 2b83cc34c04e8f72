"""`crab models`, `crab data`, `crab train` and `crab doctor` inside one process."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from fake_family import write_model

from crab_cli import checkup
from crab_core.errors import ModelError
from crab_core.progress import Note, Progress

RECIPE = yaml.safe_load((Path(__file__).parents[2] / "examples" / "train" / "mini.yaml").read_text(encoding="utf-8"))
STAGES = [
    {"name": "see", "kind": "visual", "steps": 10, "train": ["visual_encoder"]},
    {"name": "talk", "kind": "language", "steps": 20, "rate": 3e-4, "train": ["llm"]},
]
SETTINGS = yaml.safe_dump({"name": "tiny", "network": RECIPE["network"], "stages": STAGES})


def test_models_are_listed(crab) -> None:
    said = crab("models", "list")
    assert said.code == 0
    assert [line.split("\t")[0] for line in said.out.splitlines()] == ["mini", "crab-7b", "crab-plus-7b"]
    assert [model["name"] for model in json.loads(crab("models", "list", "--json").out)] == [
        "mini",
        "crab-7b",
        "crab-plus-7b",
    ]


def test_a_published_model_is_described(crab) -> None:
    facts = dict(line.split("\t") for line in crab("models", "info", "crab-7b").out.splitlines())
    assert facts["family"] == "crab" and facts["paper"] == "arXiv:2503.13068"
    assert "AVE accuracy 80.15" in facts["scores"]


@pytest.mark.usefixtures("family")
def test_a_model_folder_is_described(crab, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", training={"seed": 3}, tasks=["avqa", "ave"])
    document = json.loads(crab("models", "info", folder, "--json").out)
    assert (document["parameters"], document["training"], document["tasks"]) == (8, {"seed": 3}, ["avqa", "ave"])
    facts = dict(line.split("\t") for line in crab("models", "info", folder).out.splitlines())
    assert facts["tasks"] == "avqa, ave" and facts["parameters"] == "8" and facts["training"] == "seed 3"


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Stands for the training loop and remembers its calls."""
    calls: list[dict[str, object]] = []
    module = ModuleType("crab_core.train.loop")

    def run(config, overrides, *, out, resume, on_progress):
        calls.append({"config": config, "overrides": list(overrides), "out": out, "resume": resume})
        on_progress(Note("a stage begins"))
        on_progress(Progress("see", 1, 10, "steps"))
        return out / "model"

    module.run = run
    monkeypatch.setitem(sys.modules, "crab_core.train.loop", module)
    return calls


def test_training_gets_its_settings_and_prints_the_folder(crab, training, tmp_path: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(SETTINGS)
    said = crab(
        "train", config, "--set", "seed=1", "--set", "data.clips=5", "-o", tmp_path / "run", "--no-resume", "-v"
    )
    assert (said.code, said.out, said.err) == (0, f"{tmp_path / 'run' / 'model'}\n", "a stage begins\n")
    assert training == [
        {"config": config, "overrides": ["seed=1", "data.clips=5"], "out": tmp_path / "run", "resume": False}
    ]


def test_a_run_lives_in_runs_unless_told(crab, training, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    assert crab("train", tmp_path / "tiny.yaml").out == "runs/tiny/model\n"
    assert training[0]["out"] == Path("runs/tiny") and training[0]["resume"] is True


def test_a_dry_run_shows_the_stages_and_trains_nothing(crab, training, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    said = crab("train", tmp_path / "tiny.yaml", "--dry-run", "--set", "stages.0.steps=7")
    see, talk = (line.split("\t") for line in said.out.splitlines())
    assert see[:5] == ["see", "visual", "7", "16", "0.001"] and talk[:5] == ["talk", "language", "20", "16", "0.0003"]
    assert re.fullmatch(r"[\d.]+ M", see[5]) and re.fullmatch(r"[\d.]+ [GM]iB", see[6]) and see[7] == ""
    assert re.fullmatch(r"(\d+:)?\d+:\d\d", talk[7]), "only the LLM's time is estimated"
    assert float(talk[5].split()[0]) > float(see[5].split()[0]) and "27 steps" in said.err
    assert training == []


def test_every_mistake_of_the_settings_is_told(crab, training, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SETTINGS)
    said = crab("train", tmp_path / "tiny.yaml", "--set", "sed=1", "--set", "stages.0.stps=1")
    assert said.code == 2 and said.out == "" and training == []
    first, *mistakes = said.err.splitlines()
    assert first == f"crab: 2 mistakes in '{tmp_path / 'tiny.yaml'}'"
    assert mistakes == [
        "      sed: no such key, did you mean 'seed'?",
        "      stages.0.stps: no such key, did you mean 'steps'?",
    ]


def test_clips_are_made(crab, tmp_path: Path) -> None:
    said = crab("data", "synth", "-o", tmp_path / "clips", "--clips", 2, "--size", 32, "--fps", 2)
    assert (said.code, said.out) == (0, f"{tmp_path / 'clips' / 'labels.jsonl'}\n")
    rows = [json.loads(line) for line in (tmp_path / "clips" / "labels.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == ["00000.mp4", "00001.mp4"]
    assert rows[0]["split"] == "demo" and rows[0]["qa"] and rows[0]["size_px"] == 32
    again = crab("data", "synth", "-o", tmp_path / "clips", "--clips", 1)
    assert again.code == 2 and str(tmp_path / "clips") in again.err
    assert crab("data", "synth", "-o", tmp_path / "odd", "--size", 33).code == 2


@pytest.mark.usefixtures("family")
def test_the_doctor_finds_everything_well(crab, folder: Path) -> None:
    said = crab("doctor", "--model", folder, "--device", "cpu")
    states = {line.split("\t")[1]: line.split("\t")[0] for line in said.out.splitlines()}
    assert said.code == 0, said.out
    assert set(states.values()) <= {"ok", "warn"}
    assert {"crab", "torch", "bitsandbytes", "ffmpeg", f"model {folder}", "device", "memory", "threads"} <= set(states)
    assert "bitsandbytes" not in said.err


@pytest.mark.usefixtures("family")
def test_the_doctor_finds_damaged_weights(crab, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"short")
    said = crab("doctor", "--model", folder, "--device", "cpu", "--json")
    assert said.code == 4
    failed = [finding for finding in json.loads(said.out) if finding["state"] == "fail"]
    assert failed[0]["check"] == f"model {folder}" and "is damaged: 5 bytes" in failed[0]["found"]


def test_the_doctor_needs_the_device_that_was_asked_for(crab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(checkup, "_model", lambda name: "fine")
    said = crab("doctor", "--device", "cuda:3")
    assert said.code == 5 and "fail\tdevice\tthe device 'cuda:3' is not there" in said.out


@pytest.mark.parametrize(
    ("raised", "state", "code"),
    [
        pytest.param(checkup.Warn("slow"), "warn", 0, id="warning"),
        pytest.param(ModelError("gone", hint="get it"), "fail", 4, id="known error"),
        pytest.param(LookupError("odd"), "fail", 2, id="anything else"),
    ],
)
def test_a_check_that_raises_is_a_finding(raised: Exception, state: str, code: int) -> None:
    def check() -> str:
        raise raised

    finding = checkup._found("a check", 2, check)
    assert (finding.state, finding.exit_code) == (state, code)


def test_a_missing_package_is_found() -> None:
    with pytest.raises(LookupError, match="pip install no-such-package"):
        checkup._package("no-such-package")


def test_codecs_that_are_missing_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "DECODERS", ("h264", "no_such_codec"))
    with pytest.raises(checkup.Warn, match=r"lacks no_such_codec \(decoder\)"):
        checkup._ffmpeg()


def test_threads_that_spin_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.raises(checkup.Warn, match="OMP_WAIT_POLICY ACTIVE: a busy machine will be slow"):
        checkup._threads()


def test_bitsandbytes_is_optional_and_not_imported_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
    assert "not imported" in checkup._bitsandbytes(False)
    assert "bitsandbytes" not in sys.modules
    monkeypatch.setattr(checkup.importlib, "import_module", lambda name: ModuleType(name))
    assert checkup._bitsandbytes(True).endswith("imports")
    monkeypatch.setattr(checkup.util, "find_spec", lambda name: None)
    with pytest.raises(checkup.Warn, match="--quantize 4bit and 8bit need it"):
        checkup._bitsandbytes(False)
