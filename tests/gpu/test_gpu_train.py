"""`crab train` on a CUDA device: precisions, packed weights, paging, going on; run with `pytest -m gpu`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crab_core.train.loop import run
from crab_core.weights.folder import read_header, sha256_of

pytestmark = pytest.mark.gpu
STAGE = "{name: tune, kind: language, steps: 12, batch: 4, samples: 2, warmup: 1, rate: 0.003, train: [ilora]}"
QLORA = ("quantize=4bit", "precision=bf16", "checkpointing=true", "stages.0.optimizer=paged-adamw8bit")
PEAK_GIB = 16.0  # of a row with ten frames and ten seconds of sound, on Crab-7B's shapes


@pytest.fixture
def config(repo: Path, tmp_path: Path) -> Path:
    """mini learns another name for what it hears in two clips."""
    rows = []
    for clip in ("00001", "00003"):
        asked = [{"question": f"What is the name of it {n}?", "answer": "the dax"} for n in range(4)]
        rows.append({"file": f"{clip}.mp4", "seconds": 10, "questions": asked})
    lines, path = tmp_path / "lines.jsonl", tmp_path / "run.yaml"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = f"{{files: [{lines}], root: {repo / 'examples/clips'}, cache: {tmp_path / 'cache'}}}"
    path.write_text(f"name: tuned\nmodel: mini\ndata: {data}\nstages: [{STAGE}]\n")
    return path


def losses(out: Path) -> list[float]:
    return [entry["loss"] for entry in read_header(out / "model").training["curve"]]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(("precision=bf16",), id="bf16"),
        pytest.param(("precision=fp16",), id="fp16"),
        pytest.param((*QLORA, "stages.0.accumulate=2"), id="qlora"),
        pytest.param(("quantize=8bit", "precision=bf16", "stages.0.optimizer=adamw8bit"), id="8bit"),
    ],
)
def test_it_learns(config: Path, device: str, is_tiny: bool, tmp_path: Path, changes: tuple[str, ...]) -> None:
    if is_tiny:
        pytest.skip("tests/unit/train/test_train_files.py has what a CPU can do")
    run(config, [f"device={device}", *changes], out=tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < 0.5 * losses(tmp_path / "run")[0]


def test_losses_are_those_of_the_cpu(config: Path, device: str, tmp_path: Path) -> None:
    for name, place in (("one", "cpu"), ("other", device)):
        run(config, [f"device={place}"], out=tmp_path / name)
    assert losses(tmp_path / "other") == pytest.approx(losses(tmp_path / "one"), rel=0.02)


@pytest.mark.parametrize("changes", [(), QLORA], ids=["fp32", "qlora"])
def test_it_goes_on_where_it_was(
    config: Path, device: str, is_tiny: bool, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    if is_tiny and changes:
        pytest.skip("paging needs a GPU")
    wanted = [f"device={device}", *changes]
    run(config, wanted, out=tmp_path / "whole")
    run(config, [*wanted, "stages.0.until=6"], out=tmp_path / "half")
    (tmp_path / "half/run.json").write_bytes((tmp_path / "whole/run.json").read_bytes())
    (tmp_path / "half/model").rename(tmp_path / "half/gone")
    run(config, wanted, out=tmp_path / "half")
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "whole"), rel=1e-2)
    if device == "cpu":
        one, other = (sha256_of(tmp_path / name / "model/model.safetensors") for name in ("whole", "half"))
        assert one == other


def test_qlora_on_the_published_shapes_stays_within_its_memory(
    repo: Path, out: Path, device: str, is_tiny: bool
) -> None:
    script, report_file = repo / "benchmarks" / "qlora.py", out / "qlora.json"
    small = ["--tiny", "--turns", "1", "--steps", "1"] if is_tiny else []
    subprocess.run([sys.executable, script, "--device", device, *small, "--out", report_file], check=True)
    report = json.loads(report_file.read_text())
    assert report["positions"] > 640
    if is_tiny:
        return
    assert report["rows"]["ours"]["peak_gib"] <= PEAK_GIB
    assert report["published_over_ours"] > 1
