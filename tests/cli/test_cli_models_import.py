"""`crab models import` with the tiny release: what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_release import arguments, write_release

MASK_FILES = {"adapters.safetensors", "avs.safetensors", "encoders.safetensors", "llm-01.safetensors"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("pristine") / "tiny")


@pytest.fixture
def release(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


def test_the_folder_is_printed_and_complete(crab, pristine, tmp_path):
    said = crab(*arguments(pristine, tmp_path / "model"), "-v")
    assert (said.code, said.out) == (0, f"{tmp_path / 'model'}\n")
    assert said.err.count("taken from the mask weights") == 2
    header = json.loads((tmp_path / "model" / "crab.json").read_text())
    assert set(header["files"]) >= MASK_FILES
    assert (header["config"]["ilora"]["heads"], header["config"]["ilora"]["rank"]) == (3, 8)
    assert (header["config"]["mask"]["decoder"]["queries"], header["config"]["mask"]["layers"]) == (12, [14, 22])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_is_found_by_its_name_after_importing(crab, pristine, tmp_path, monkeypatch):
    monkeypatch.setenv("CRAB_MODELS", str(tmp_path))
    words = arguments(pristine, tmp_path)
    del words[3:5]
    assert crab(*words, "-q").out == f"{tmp_path / 'crab-7b'}\n"
    assert json.loads(crab("models", "info", "crab-7b", "--json").out)["parameters"] > 500_000


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "told", "code"),
    [
        pytest.param(lambda r: (r / "beats.pt").unlink(), "cannot read", 4, id="beats-missing"),
        pytest.param(lambda r: (r / "llama" / "config.json").unlink(), "config.json", 4, id="config-missing"),
        pytest.param(lambda r: (r / "llama" / "model.safetensors").unlink(), "has no weights", 4, id="llm-missing"),
        pytest.param(lambda r: cut(r / "clip" / "model.safetensors"), "is damaged", 4, id="clip-truncated"),
        pytest.param(lambda r: cut(r / "finetune.bin"), "is damaged", 4, id="finetune-truncated"),
        pytest.param(lambda r: (r / "avs.bin").write_text("no"), "is damaged", 4, id="avs-is-text"),
        pytest.param(lambda r: shutil.copy(r / "finetune.bin", r / "avs.bin"), "cannot be the --avs", 4, id="avs-role"),
        pytest.param(
            lambda r: shutil.copy(r / "avs.bin", r / "finetune.bin"), "cannot be the --finetune", 4, id="finetune-role"
        ),
        pytest.param(lambda r: (r / "llama" / "tokenizer.json").unlink(), "no tokenizer", 4, id="tokenizer-missing"),
        pytest.param(lambda r: (r / "bert.json").write_text("[]"), "no JSON object", 4, id="bert-config"),
        pytest.param(lambda r: (r / "bert.json").write_text('{"num_attention_heads": 5}'), "5 heads", 4, id="heads"),
        pytest.param(lambda r: (r / "positions.safetensors").unlink(), "no file", 2, id="positions-missing"),
    ],
)
def test_bad_files_are_told_and_leave_nothing(crab, release, tmp_path, damage, told, code):
    damage(release)
    said = crab(*arguments(release, tmp_path / "model"))
    assert said.code == code
    assert told in said.err
    assert len(said.err.splitlines()) <= 4 and "Traceback" not in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["models", "import", "crab7b"], "crab-7b", id="near-name"),
        pytest.param(["models", "import", "mini"], "no model called 'mini' can be imported", id="embedded"),
    ],
)
def test_names_that_cannot_be_imported(crab, pristine, tmp_path, words, told):
    said = crab(*words, *arguments(pristine, tmp_path / "model")[3:])
    assert said.code == 2
    assert told in said.err


def test_a_place_in_use_is_not_touched(crab, pristine, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    said = crab(*arguments(pristine, tmp_path / "mine"))
    assert (said.code, "is no model folder" in said.err) == (2, True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_imported_release_says_which_tasks_it_can_do_and_draws(crab, tmp_path: Path) -> None:
    from fake_family import write_clip
    from tiny_release import arguments, write_release

    from crab_core.weights.folder import read_header

    release, out = write_release(tmp_path / "release"), tmp_path / "model"
    assert crab(*arguments(release, out), "--avss", release / "avs.bin").code == 0
    tasks = read_header(out).tasks
    assert {"avqa", "ave", "avvp", "arig", "s4", "ms3", "ref-avs", "avss"} <= set(tasks)
    clip = write_clip(tmp_path / "clip.mp4")
    for words in ([], ["--semantic"], ["--expr", "the dog"]):
        said = crab("segment", clip, "--at", "1", "--max-new-tokens", "4", "--model", out, *words)
        assert said.code == 0, said.err
