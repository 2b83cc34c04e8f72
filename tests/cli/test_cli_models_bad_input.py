"""What can be wrong with published files and model folders, told through the command line with its exit code."""

from __future__ import annotations

import json
import pickle
import zipfile

import pytest
import torch
from tiny_crab import write_tiny
from tiny_release import arguments, write_release

from crab_core.weights import streaming


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("pristine") / "tiny")


@pytest.fixture
def release(pristine, tmp_path):
    import shutil

    return shutil.copytree(pristine, tmp_path / "tiny")


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def with_code(release):
    (release / "finetune.bin").write_bytes(pickle.dumps({"a": Evil()}))


def with_a_bomb(release):
    torch.save({"a": torch.zeros(1_000_000)}, release / "plain.bin")
    with zipfile.ZipFile(release / "plain.bin") as plain, zipfile.ZipFile(release / "finetune.bin", "w", 8) as bomb:
        for member in plain.infolist():
            bomb.writestr(member.filename, plain.read(member))


def without_a_shard(release):
    places = {"model.norm.weight": "part-1.safetensors"}
    (release / "llama" / "model.safetensors").unlink()
    (release / "llama" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def of_other_sizes(release):
    tensors = torch.load(release / "finetune.bin", weights_only=True)
    for name, tensor in tensors.items():
        if name.endswith("lora_A.weight"):
            tensors[name] = torch.cat([tensor, tensor], dim=1)
    torch.save(tensors, release / "finetune.bin")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(with_code, "is not opened", id="code"),
        pytest.param(with_a_bomb, "would unpack to", id="bomb"),
        pytest.param(without_a_shard, "part-1.safetensors' is missing", id="shard"),
        pytest.param(of_other_sizes, "the network needs", id="adapter-of-another-model"),
    ],
)
def test_bad_releases_leave_nothing(crab, release, tmp_path, damage, told):
    damage(release)
    said = crab(*arguments(release, tmp_path / "model"))
    assert (said.code, told in said.err) == (4, True)
    assert "executed" not in said.out + said.err
    assert len(said.err.splitlines()) <= 3
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_full_disk_leaves_nothing(crab, release, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    said = crab(*arguments(release, tmp_path / "model"))
    assert (said.code, "GB free" in said.err) == (5, True)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"quantized": "4bit"}, "the packed weights lack", id="packed-it-is-not"),
        pytest.param({"quantized": "2bit"}, "quantized '2bit' is none of", id="unknown-packing"),
        pytest.param({"quantized": 4}, "must be text", id="no-text"),
        pytest.param({"extra": 1}, "is no header of a model", id="unknown-key"),
    ],
)
def test_a_header_edited_by_hand_is_told(crab, tmp_path, clip, change, told):
    folder = write_tiny(tmp_path / "m")
    header = json.loads((folder / "crab.json").read_text())
    (folder / "crab.json").write_text(json.dumps({**header, **change}))
    said = crab("infer", clip, "what?", "--model", folder, "--device", "cpu")
    assert (said.code, told in said.err) == (4, True)


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        pytest.param("llm", {"hidden_act": "magic"}, "'magic' is not known", id="activation"),
        pytest.param("llm", {"num_attention_heads": 0}, "at least 1, got 0", id="no-heads"),
        pytest.param("llm", {"num_attention_heads": "4"}, "at least 1, got '4'", id="heads-in-words"),
        pytest.param("llm", {"num_hidden_layers": 3}, "lack", id="more-layers-than-weights"),
        pytest.param("ilora", {"heads": 5}, "heads", id="other-heads"),
        pytest.param("ilora", {"rank": 10**12}, "rank", id="huge-rank"),
    ],
)
def test_numbers_of_a_header_edited_by_hand_are_told(crab, tmp_path, clip, part, change, told):
    folder = write_tiny(tmp_path / "m")
    header = json.loads((folder / "crab.json").read_text())
    header["config"][part] |= change
    (folder / "crab.json").write_text(json.dumps(header))
    said = crab("infer", clip, "what?", "--model", folder, "--device", "cpu")
    assert (said.code, told in said.err) == (4, True), said.err
    assert len(said.err.splitlines()) <= 3


def test_a_number_taken_out_of_a_header_is_told(crab, tmp_path, clip):
    folder = write_tiny(tmp_path / "m")
    header = json.loads((folder / "crab.json").read_text())
    del header["config"]["llm"]["num_attention_heads"]
    (folder / "crab.json").write_text(json.dumps(header))
    said = crab("infer", clip, "what?", "--model", folder, "--device", "cpu")
    assert (said.code, "'llm' lacks ['num_attention_heads']" in said.err) == (4, True), said.err


def test_four_bits_without_a_gpu_work_with_a_note(crab, tmp_path, clip):
    folder = write_tiny(tmp_path / "m")
    words = ("infer", clip, "what?", "--model", folder, "--max-new-tokens", "2", "--quantize", "4bit")
    said = crab(*words, "--device", "cpu")
    assert said.code == 0
    assert "note: 4bit on a CPU saves memory, not time" in said.err
    refused = crab(*words, "--device", "cuda")
    if not torch.cuda.is_available():
        assert (refused.code, "Use --device cpu" in refused.err) == (5, True)


def test_memory_that_runs_out_on_the_way_has_its_exit_code(crab, infer, family, clip):
    family.network.says["avqa"] = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    said = infer(clip, "what?")
    assert (said.code, "memory ran out" in said.err, "--quantize 4bit" in said.err) == (5, True, True)
    assert said.out == ""
