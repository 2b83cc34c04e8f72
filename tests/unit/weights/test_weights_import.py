"""Importing: the same bytes each time, any of the publishers' formats, nothing executed, one tensor in memory."""

import json
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_release import write_release

from crab_core.errors import ModelError, ResourceError, UsageError, WeightsMismatch
from crab_core.families.crab_import import import_crab
from crab_core.weights import streaming
from crab_core.weights.folder import verify
from crab_core.weights.lazy import open_file, open_folder
from crab_core.weights.release import Choices, Release


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release") / "tiny")


def files(root, **changes):
    roles = {"llm": "llama", "clip": "clip", "beats": "beats.pt", "finetune": "finetune.bin", "avs": "avs.bin"}
    return Release(**({role: root / name for role, name in {**roles, "bert_config": "bert.json"}.items()} | changes))


def choices(root, **changes):
    return Choices(**{"positions": str(root / "positions.safetensors"), **changes})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_importing_twice_changes_nothing(root, tmp_path):
    import_crab(files(root), choices(root), tmp_path / "a")
    first = contents(tmp_path / "a")
    import_crab(files(root), choices(root), tmp_path / "a")
    import_crab(files(root), choices(root), tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b") == first
    assert verify(tmp_path / "a").name == "crab-7b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_every_published_tensor_is_renamed_or_named(root, tmp_path):
    header = import_crab(files(root), choices(root), tmp_path / "m")
    left_out = json.loads((tmp_path / "m" / "import.json").read_text())["left_out"]
    published = len(load_file(root / "clip" / "model.safetensors")) + len(load_file(root / "llama/model.safetensors"))
    assert "predictor.weight" in left_out["beats"]
    assert not [name for name in left_out["finetune"] if "lora" in name]
    written = sum(len(open_file(tmp_path / "m" / name)) for name in header.files if name.endswith(".safetensors"))
    assert written > published - 40


def test_sharded_bin_and_safetensors_give_the_same_folder(root, tmp_path):
    tensors = load_file(root / "llama" / "model.safetensors")
    names = sorted(tensors)
    made = {}
    for kind, save in (("safetensors", save_file), ("bin", torch.save)):
        llama = tmp_path / kind
        llama.mkdir()
        for path in (root / "llama").iterdir():
            if path.name != "model.safetensors":
                (llama / path.name).write_bytes(path.read_bytes())
        whole = {"safetensors": "model.safetensors", "bin": "pytorch_model.bin"}[kind]
        places = {name: f"part-{index % 2}.{kind}" for index, name in enumerate(names)}
        for part in set(places.values()):
            save({name: tensors[name] for name in names if places[name] == part}, llama / part)
        (llama / f"{whole}.index.json").write_text(json.dumps({"weight_map": places}))
        import_crab(files(root, llm=llama), choices(root), tmp_path / f"out-{kind}")
        made[kind] = {k: v.sum() for k, v in load_file(tmp_path / f"out-{kind}" / "llm-01.safetensors").items()}
    assert made["bin"] == made["safetensors"]
    (tmp_path / "bin" / "part-1.bin").unlink()
    with pytest.raises(ModelError, match=r"part-1.bin' is missing"):
        open_folder(tmp_path / "bin")


def test_masks_and_semantic_masks_live_in_one_folder(root, tmp_path):
    header = import_crab(files(root, avss=root / "avs.bin"), choices(root), tmp_path / "m")
    assert header.config["mask"]["capabilities"] == ("avs", "avss")
    assert {"avs.safetensors", "avss.safetensors"} <= set(header.files)


def test_text_alone_needs_no_positions(root, tmp_path):
    heard = []
    header = import_crab(files(root, avs=None), Choices(), tmp_path / "m", heard.append)
    assert header.config["mask"] is None
    assert header.training["rows"] == "drawn"
    assert sum("drawn at random" in getattr(note, "text", "") for note in heard) == 2


def test_masks_of_an_unknown_width_need_positions(root, tmp_path):
    with pytest.raises(ModelError, match="no position matrices are known for a mask decoder of width 32") as caught:
        import_crab(files(root), Choices(), tmp_path / "m")
    assert "--positions FILE" in caught.value.hint


@pytest.mark.parametrize("variant", ["train", "infer"])
def test_shipped_values_have_the_real_models_sizes(variant):
    from crab_core.families.crab_import import DIRECTIONS, ROWS, Filler

    filler = Filler.of(variant)
    for level in DIRECTIONS:
        assert filler.directions(level, 256).read().shape == (2, 128)
    for table in ROWS:
        assert filler.rows(table, 4096, None, print).read().shape == (17, 4096)
    assert filler.rows_told == variant


def test_the_two_variants_differ():
    from crab_core.families.crab_import import Filler

    name = "positions.0.directions"
    train, infer = (Filler.of(variant).directions(name, 256).read() for variant in ("train", "infer"))
    assert not torch.equal(train, infer)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        pytest.param(
            lambda t: t.pop("model.norm.weight"), WeightsMismatch, "lacks 'llm.model.norm.weight'", id="lacks"
        ),
        pytest.param(lambda t: t.update(odd=torch.zeros(1)), WeightsMismatch, "unknown 'odd'", id="unknown"),
        pytest.param(
            lambda t: t.update({"model.norm.weight": torch.zeros(3)}), ModelError, r"is \(3,\) and the", id="shape"
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(root, tmp_path, change, error, told):
    llama = tmp_path / "llama"
    llama.mkdir()
    for path in (root / "llama").iterdir():
        (llama / path.name).write_bytes(path.read_bytes())
    tensors = load_file(llama / "model.safetensors")
    change(tensors)
    save_file(tensors, llama / "model.safetensors")
    with pytest.raises(error, match=told):
        import_crab(files(root, llm=llama), choices(root), tmp_path / "m")
    assert not (tmp_path / "m").exists()


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "x.bin")
    (tmp_path / "y.bin").write_bytes(pickle.dumps({"a": Evil()}))
    for name in ("x.bin", "y.bin"):
        with pytest.raises(ModelError, match="not opened"):
            open_file(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


def test_an_archive_that_unpacks_to_far_more_is_not_opened(tmp_path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "x.bin")
    with zipfile.ZipFile(tmp_path / "x.bin") as plain, zipfile.ZipFile(tmp_path / "b.bin", "w", 8) as bomb:
        for member in plain.infolist():
            bomb.writestr(member.filename, plain.read(member))
    with pytest.raises(ModelError, match="would unpack to"):
        open_file(tmp_path / "b.bin")


def test_a_file_of_the_older_format_is_read(tmp_path):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "x.bin", _use_new_zipfile_serialization=False)
    assert open_file(tmp_path / "x.bin")["a"].read().tolist() == [0, 1, 2]


def test_a_full_disk_is_told_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(ResourceError, match="GB free"):
        import_crab(files(root), choices(root), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_the_older_folder(root, tmp_path, monkeypatch):
    import_crab(files(root), choices(root), tmp_path / "m")
    before = contents(tmp_path / "m")

    def full(name, lazy):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming, "_bytes_of", full)
    with pytest.raises(ResourceError, match="No space left"):
        import_crab(files(root), choices(root), tmp_path / "m")
    assert contents(tmp_path / "m") == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_unknown_positions_are_refused(root, tmp_path):
    with pytest.raises(UsageError, match="no file 'trian'"):
        import_crab(files(root), choices(root, positions="trian"), tmp_path / "m")


MEASURE = """
import resource, sys
from pathlib import Path
from crab_core.weights.folder import Header
from crab_core.weights.lazy import open_file
from crab_core.weights.streaming import write_streamed
import torch, safetensors.torch
root = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tensors = {k: v for part in sorted(root.glob("part*")) for k, v in open_file(part).items()}
write_streamed(root / "m", Header("m", "crab", {}, ""), {"a.safetensors": tensors}, {})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_memory_holds_less_than_one_file_and_a_third(tmp_path, kind):
    """Four files of 32 MiB with tensors of 4 MiB; 8 MiB of slack for the interpreter."""
    for part in range(4):
        tensors = {f"{part}.{n}": torch.full((1 << 20,), float(n)) for n in range(8)}
        (save_file if kind == "safetensors" else torch.save)(tensors, tmp_path / f"part{part}.{kind}")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(done.stdout) * 1024 <= 1.3 * (32 << 20) + (8 << 20)
