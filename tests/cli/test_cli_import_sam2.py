"""`crab models import --sam2 DIR`: SAM 2 becomes a part of the model folder, and masks need nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from tiny_plus import arguments, write_release
from tiny_sam2 import write_sam2

from crab_core.types import Mask

Crab = Callable[..., Any]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, finetune.bin and sam2/ as published."""
    root = write_release(tmp_path_factory.mktemp("release") / "tiny")
    write_sam2(root / "sam2")
    (root / "sam2" / "LICENSE").write_text("Apache License")
    (root / "sam2" / "README.md").write_text("not needed")
    return root


@pytest.fixture(scope="module")
def model(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is imported from them."""
    from crab_core.families.plus_import import import_plus
    from crab_core.weights.plus_release import PlusChoices, PlusRelease

    folder = tmp_path_factory.mktemp("imported") / "model"
    files = PlusRelease(release / "base", release / "finetune.bin", sam2=release / "sam2")
    import_plus(files, PlusChoices(), folder)
    return folder


@pytest.fixture(autouse=True)
def nothing_pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_its_files_are_in_the_folder_with_hashes_and_licence(crab: Crab, release: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    for _ in range(2):
        said = crab(*arguments(release, out), "--sam2", release / "sam2", "-q")
        assert (said.code, said.out) == (0, f"{out}\n"), said.err
        written = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    header = json.loads(written["crab.json"])
    mine = {name for name in header["files"] if "/" in name}
    assert mine == {"sam2/LICENSE", "sam2/config.json", "sam2/model.safetensors"}
    assert all(written[name] == (release / name).read_bytes() for name in mine)
    assert all(fact["sha256"] == sha256(written[name]).hexdigest() for name, fact in header["files"].items())
    assert header["parts"] == {"sam2": {"licence": "Apache-2.0"}} and "and SAM 2" in header["licence"]
    assert header["training"]["imported"]["sam2"] == {"model.safetensors": len(written["sam2/model.safetensors"])}
    crab(*arguments(release, tmp_path / "again"), "--sam2", release / "sam2", "-q")
    assert all((tmp_path / "again" / name).read_bytes() == data for name, data in written.items())
    assert crab("models", "verify", out).code == 0
    told = crab("models", "info", out).out
    assert "sam2 licence Apache-2.0" in told and "sam2/model.safetensors" in told


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("mask_decoder.conv_s0.bias")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def with_a_wrong_size(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["mask_decoder.conv_s0.bias"] = tensors["mask_decoder.conv_s0.bias"][:1].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(shutil.rmtree, "holds no SAM 2", id="nowhere"),
        pytest.param(lambda sam2: (sam2 / "model.safetensors").unlink(), "has no weights of SAM 2", id="no-weights"),
        pytest.param(
            lambda sam2: (sam2 / "model.safetensors").write_bytes(b"x" * 99), "cannot be loaded", id="damaged"
        ),
        pytest.param(without_a_tensor, "lacks 'mask_decoder.conv_s0.bias'", id="partial"),
        pytest.param(with_a_wrong_size, "lacks 'mask_decoder.conv_s0.bias'", id="another-size"),
        pytest.param(
            lambda sam2: shutil.copyfile(sam2.parent / "base" / "config.json", sam2 / "config.json"),
            "holds a model of type 'qwen2_5_omni_thinker', not SAM 2",
            id="another-role",
        ),
    ],
)
def test_a_folder_that_is_none_is_told_and_nothing_is_left(
    crab: Crab, release: Path, tmp_path: Path, damage: Callable[[Path], object], told: str
) -> None:
    root = Path(shutil.copytree(release, tmp_path / "tiny"))
    damage(root / "sam2")
    said = crab(*arguments(root, tmp_path / "model"), "--sam2", root / "sam2", "-q")
    assert (said.code, told in said.err) == (4, True), said.err
    assert "Traceback" not in said.err and len(said.err.splitlines()) <= 3
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_masks_need_no_further_option(crab: Crab, model: Path, release: Path, clip: Path) -> None:
    words = ("segment", clip, "--task", "s4", "--at", "1", "--model", model, "--max-new-tokens", "4", "--json")
    said = crab(*words)
    assert said.code == 0, said.err
    assert "masks are drawn by 'sam2' from the boxes" in json.loads(said.out)["notes"]
    shutil.copytree(release / "sam2", other := clip.parent / "another")
    said = crab(*words, "--sam2", other)
    assert "masks are drawn by 'another' from the boxes" in json.loads(said.out)["notes"]
    assert crab(*words, "--track", "0.5").code == 0


def test_scan_and_eval_draw_with_it_too(crab: Crab, model: Path, clip: Path, tmp_path: Path) -> None:
    from numpy import ones

    said = crab("scan", clip, "--at", "1", "--model", model, "--json")
    assert said.code == 0 and json.loads(said.out)["masks"], said.err
    rle = Mask.of("", 1.0, ones((24, 32), bool)).to_rle()
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"file": "clip.mp4", "frames": [{"time_s": 1, "masks": [{"rle": rle}]}]}))
    said = crab("eval", "--task", "s4", "--data", data, "--root", clip.parent, "--model", model, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["tables"][0]["lines"][0]["name"] == "mIoU"


def test_memory_counts_it_where_masks_are_asked_for(crab: Crab, model: Path, clip: Path) -> None:
    from crab_core.engine.memory import needs_of
    from crab_core.families._base import Precision
    from crab_core.families.crab_plus import FAMILY

    alone = needs_of(model, Precision(), FAMILY).total
    limit = ("--max-memory", f"{alone / 1024 + 4:.0f}KiB", "--device", "cpu", "--dtype", "float32", "-q")
    words = (clip, "--model", model, *limit, "--max-new-tokens", "4")
    assert crab("infer", words[0], "What is heard?", *words[1:]).code == 0
    for asked in (("segment", *words), ("infer", *words, "--task", "s4")):
        said = crab(*asked)
        assert (said.code, ", SAM 2 " in said.err) == (5, True), said.err
    facts = json.loads(crab("models", "info", model, "--json").out)["needs_gib"]
    assert facts["float32 with masks"] > facts["float32"] > facts["bfloat16"] > facts["bfloat16 4bit"]


def test_a_packed_folder_keeps_it(crab: Crab, model: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    said = crab("models", "quantize", model, "-o", tmp_path / "packed", "-q")
    assert said.code == 0, said.err
    assert (tmp_path / "packed" / "sam2" / "model.safetensors").is_file()
    said = crab("segment", clip, "--at", "1", "--model", tmp_path / "packed", "--max-new-tokens", "4", "--json")
    assert said.code == 0 and json.loads(said.out)["masks"], said.err


def test_a_trained_folder_keeps_it(model: Path, tmp_path: Path) -> None:
    from crab_core.families._base import Precision
    from crab_core.train.start import open_start, write_tuned
    from crab_core.weights.folder import verify

    start = open_start(model, Precision())
    for parameter in start.model.parameters():
        parameter.requires_grad_(False)
    write_tuned(start, tmp_path / "step-1", ["s4"], {}, "tuned", {})
    header = verify(tmp_path / "step-1")
    assert "sam2/model.safetensors" in header.files and header.parts == {"sam2": {"licence": "Apache-2.0"}}


@pytest.mark.parametrize("name", ["sam2/../../x", "other/x", "../x", "sam2/", "sam2/crab.json", "a/b/c"])
def test_a_file_outside_the_folder_is_no_part_of_it(crab: Crab, model: Path, tmp_path: Path, name: str) -> None:
    header = json.loads((model / "crab.json").read_text())
    header["files"][name] = {"sha256": "0", "bytes": 1}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "crab.json").write_text(json.dumps(header))
    said = crab("models", "info", tmp_path / "model")
    assert said.code == 4 and "neither plain names nor names in a part" in said.err


def test_crab_7b_takes_it_too(crab: Crab, release: Path, tmp_path: Path, clip: Path) -> None:
    from tiny_release import arguments as files_of_crab
    from tiny_release import write_release as write_crab

    words = files_of_crab(write_crab(tmp_path / "crab"), tmp_path / "model")
    said = crab(*words, "--sam2", release / "sam2", "-q")
    assert said.code == 0, said.err
    header = json.loads((tmp_path / "model" / "crab.json").read_text())
    assert header["licence"].startswith("the Llama 2 Community License for the base, Apache-2.0 for SAM 2;")
    words = ("segment", clip, "--at", "1", "--model", tmp_path / "model", "--max-new-tokens", "4", "--json")
    drawn = crab(*words, "--masks", "sam2")
    assert "masks are drawn by 'sam2' from the boxes of task 'arig'" in drawn.out, drawn.err
    said = crab(*words)
    assert said.code == 0 and not [note for note in json.loads(said.out)["notes"] if "drawn by" in note], said.err
