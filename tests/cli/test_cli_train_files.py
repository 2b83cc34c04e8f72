"""`crab train` on annotated files: from a model folder to a model folder, with bad data told before or counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from tiny_crab import write_tiny

from crab_cli.app import run
from crab_core.weights.folder import read_header, verify

STAGE = {
    "name": "tune",
    "kind": "language",
    "steps": 3,
    "batch": 3,
    "samples": 2,
    "warmup": 1,
    "train": ["ilora", "al_projector"],
    "save_every": 2,
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labels of three generated clips."""
    folder = tmp_path_factory.mktemp("data") / "clips"
    assert run(["data", "synth", "-o", str(folder), "--clips", "3", "--size", "64", "--fps", "2", "-q"]) == 0
    return folder / "labels.jsonl"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def config(tmp_path: Path, clips: Path, tiny: Path) -> Path:
    """A run from the tiny model on the generated clips."""
    path = tmp_path / "run.yaml"
    document = {"name": "mine", "model": str(tiny), "data": {"files": [str(clips)]}, "stages": [STAGE]}
    path.write_text(yaml.safe_dump(document))
    return path


def lines(clips: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in clips.read_text().splitlines()]


def written(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A data file of these lines beside copies of nothing: media are named by --set data.root."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lines.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked(clip: str, question: str = "What is heard?") -> dict[str, object]:
    return {"file": clip, "questions": [{"question": question, "answer": "dog"}]}


def test_a_model_learns_from_files_and_is_a_model_folder(crab, config: Path, tmp_path: Path, tiny: Path) -> None:
    said = crab("train", config, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    assert said.out == f"{tmp_path / 'run' / 'model'}\n"
    assert "texts in" in said.err and "tune 3/3" in said.err and "left 0:00" in said.err and "tokens/s" in said.err
    for name in ("model", "step-3"):
        header = verify(tmp_path / "run" / name)
        assert header.name == "mine" and len(header.training["curve"]) == 3
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny, tmp_path / "run" / "model"))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert any("ilora_A" in name for name in changed) and any(name.startswith("al_projector.") for name in changed)
    assert all("ilora" in name or name.startswith("al_projector.") for name in changed)


def test_mini_is_tuned_on_all_its_tasks_and_then_asked(crab, config: Path, tmp_path: Path, clips: Path) -> None:
    more = [
        "--set",
        "model=mini",
        "--set",
        "stages.0.train=[ilora, masks]",
        "--set",
        "stages.0.batch=8",
        "--set",
        "stages.0.steps=2",
    ]
    said = crab("train", config, "-o", tmp_path / "run", *more, "--cache", tmp_path / "cache")
    assert said.code == 0, said.err
    header = read_header(tmp_path / "run" / "model")
    assert {"avqa", "ave", "avvp", "avcap", "arig", "ssl", "s4", "ms3", "ref-avs"} >= set(header.training["rows"])
    curve = header.training["curve"]
    assert curve[0]["token_accuracy"] > 0.7, "what mini wrote before it was tuned is nearly what the files teach"
    assert any("mask_loss" in entry for entry in curve)
    assert list((tmp_path / "cache").rglob("*.safetensors")), "the encoders' features are kept"
    clip = clips.parent / str(lines(clips)[0]["file"])
    said = crab("infer", clip, "What is heard?", "--model", tmp_path / "run" / "model", "--device", "cpu")
    assert said.code == 0 and said.out.strip()


def test_a_cache_changes_no_weight_and_saves_decoding(
    crab, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ["--cache", tmp_path / "cache"]
    assert crab("train", config, "-o", tmp_path / "plain").code == 0
    assert crab("train", config, "-o", tmp_path / "first", *cache).code == 0
    monkeypatch.setattr("crab_core.train.looking.load_clip", None)  # nothing is decoded again
    assert crab("train", config, "-o", tmp_path / "again", *cache).code == 0
    first, *others = (load_file(tmp_path / name / "model/model.safetensors") for name in ("plain", "first", "again"))
    assert all(first[name].equal(other[name]) for other in others for name in first)


def test_clips_that_cannot_be_used_are_left_out_and_counted(crab, config: Path, tmp_path: Path, clips: Path) -> None:
    good = [asked(str(row["file"])) for row in lines(clips)]
    (clips.parent / "broken.mp4").write_bytes(b"no film")
    path = written(tmp_path / "data", [*good, asked("broken.mp4"), asked("gone.mp4")])
    data = ["--set", f"data.files=[{path}]", "--set", f"data.root={clips.parent}"]
    data += ["--set", "stages.0.batch=5", "--set", "stages.0.samples=1"]
    said = crab("train", config, "-o", tmp_path / "run", *data, "--set", "data.most_skipped=0.5")
    assert said.code == 0, said.err
    assert "'gone.mp4' is left out" in said.err and "note: 2 clips were left out" in said.err
    assert set(read_header(tmp_path / "run/model").training["skipped"]) == {"broken.mp4", "gone.mp4"}
    said = crab("train", config, "-o", tmp_path / "strict", *data)
    assert said.code == 3 and "of 5 clips cannot be used, more than 10%" in said.err


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        pytest.param(asked("../secret.mp4"), 2, "line 1: the path '../secret.mp4' leads out of the data root", id="up"),
        pytest.param(asked("/etc/passwd"), 2, "line 1: the path '/etc/passwd' leads out", id="absolute"),
        pytest.param({"file": "a.mp4", "questons": []}, 2, "did you mean 'questions'", id="unknown key"),
        pytest.param({"file": "a.mp4", "captions": ["x"]}, 2, "has no sample for avqa", id="no sample of a task"),
    ],
)
def test_bad_files_are_told_before_anything_is_loaded(
    crab, config: Path, tmp_path: Path, row: dict[str, object], code: int, message: str, monkeypatch
) -> None:
    monkeypatch.setattr("crab_core.train.file_run.open_start", None)
    path = written(tmp_path / "data", [row])
    wanted = ["--set", "stages.0.tasks={avqa: 1}"]
    said = crab("train", config, "-o", tmp_path / "run", "--set", f"data.files=[{path}]", *wanted)
    assert said.code == code and message in said.err


def test_records_of_av_uie_are_learnt_from(crab, config: Path, tmp_path: Path, clips: Path) -> None:
    shutil.copy(clips.parent / str(lines(clips)[0]["file"]), tmp_path / "one.mp4")
    record = {"question_id": 7, "type": '["Audio", "Counting"]', "question": "How many?", "answer": "two"}
    (tmp_path / "uie.json").write_text(json.dumps([{**record, "video_path": "one.mp4", "label": "I hear two."}]))
    data = f"data={{av_uie: {{avqa: {tmp_path / 'uie.json'}}}}}"
    said = crab("train", config, "-o", tmp_path / "run", "--set", data)
    assert said.code == 0, said.err
    assert read_header(tmp_path / "run/model").training["rows"] == {"avqa": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param("stages.0.train=[masks]", "model 'tiny' has no masks to train", id="no masks"),
        pytest.param("stages.0.ilora={heads: 5}", "an adapter with heads 3, and the stage asks for 5", id="heads"),
        pytest.param("data={clips: 3}", "a 'model' learns from files", id="generated"),
        pytest.param("stages.0.kind=visual", "from files only kind language learns", id="kind"),
        pytest.param("network={}", "give either 'network'", id="both"),
        pytest.param("data.fles=[]", "did you mean 'files'", id="key"),
        pytest.param("model=nowhere/at/all", "no model folder 'nowhere/at/all'", id="no model"),
    ],
)
def test_what_cannot_be_is_told(crab, config: Path, tmp_path: Path, change: str, message: str) -> None:
    said = crab("train", config, "-o", tmp_path / "run", "--set", change)
    assert said.code in (2, 4) and message in said.err, said.err


def plan(crab, config: Path, *changes: str) -> list[str]:
    said = crab("train", config, "--dry-run", *(f"--set={change}" for change in changes))
    assert said.code == 0, said.err
    return said.out.rstrip("\n").split("\t")


def test_a_dry_run_tells_what_a_run_on_files_takes(crab, config: Path, tmp_path: Path, tiny: Path) -> None:
    name, kind, steps, batch, _, learning, memory, least = plan(crab, config)
    assert (name, kind, steps, batch) == ("tune", "language", "3", "3")
    tensors = load_file(tiny / "model.safetensors")
    counted = sum(one.numel() for key, one in tensors.items() if "ilora" in key or key.startswith("al_projector"))
    assert learning == f"{counted / 1e6:.3g} M"
    assert memory.endswith("iB") and ":" in least
    assert not Path("runs").joinpath("run").exists()

    def mib(*changes: str) -> float:
        number, unit = plan(crab, config, *changes)[6].split()
        return float(number) * {"MiB": 1, "GiB": 1024}[unit]

    small, large = mib("stages.0.batch=3"), mib("stages.0.batch=300")
    assert large > 50 * small
    assert mib("stages.0.batch=300", "stages.0.accumulate=100") == small
    assert mib("stages.0.batch=300", "checkpointing=true") < large


def test_a_dry_run_of_a_large_model_reads_no_weights(crab, config: Path, tmp_path: Path) -> None:
    """The published sizes of Crab-7B in a header: QLoRA at one row of ten frames and ten seconds."""
    from crab_core.weights.folder import Header, write_folder

    wide = {"layers": 2, "hidden": 768, "heads": 12, "ffn": 3072, "queries": 32, "out_width": 4096}
    llama = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008}
    document = {
        "visual": {"kind": "clip", "options": {}},
        "audio": {"kind": "beats", "options": {}},
        "vl": {**wide, "encoder_width": 1024},
        "al": {**wide, "encoder_width": 768},
        "llm": {**llama, "vocab_size": 32017, "max_position_embeddings": 4096},
        "ilora": {"heads": 3, "rank": 8, "alpha": 16.0},
    }
    folder = tmp_path / "large"
    write_folder(folder, Header(name="large", family="crab", config=document, licence="none"), {})
    qlora = ("quantize=4bit", "precision=bf16", "checkpointing=true", "stages.0.batch=1", "stages.0.train=[ilora]")
    row = plan(crab, config, f"model={folder}", *qlora)
    memory = float(row[6].split()[0])
    assert row[5] == "45.2 M"  # 32 (4 (8 + 3 + 24) 4096 + 2 ((8 + 3) 4096 + 24 11008) + (8 + 3) 11008 + 24 4096)
    assert 4 < memory < 8 and row[6].endswith("GiB"), row
