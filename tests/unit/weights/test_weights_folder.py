import json

import pytest
import torch

from crab_core.errors import ModelError, ResourceError
from crab_core.weights.folder import Header, check_files, read_header, read_tensors, verify, write_folder

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(7)}


@pytest.fixture
def folder(tmp_path):
    header = Header("tiny", "crab", {"width": 3}, "Apache-2.0", note="a toy", tasks=("avqa",), training={"seed": 1})
    write_folder(tmp_path / "tiny", header, TENSORS, {"tokenizer.json": b"{}"})
    return tmp_path / "tiny"


def rewrite(folder, **changes):
    path = folder / "crab.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_was_written_is_read(folder):
    header = verify(folder)
    assert (header.name, header.note, header.tasks, header.training) == ("tiny", "a toy", ("avqa",), {"seed": 1})
    assert sorted(header.files) == ["model.safetensors", "tokenizer.json"]
    tensors = read_tensors(folder, header, torch.float32)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_numbers_are_computed_in_the_asked_type_and_counts_stay_whole(folder):
    tensors = read_tensors(folder, read_header(folder), torch.bfloat16)
    assert (tensors["a.weight"].dtype, tensors["steps"].dtype) == (torch.bfloat16, torch.int64)


def test_an_older_folder_is_replaced_as_a_whole(folder):
    write_folder(folder, Header("new", "crab", {}, "MIT"), {})
    assert read_header(folder).name == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["crab.json", "model.safetensors"]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_folder_stays_as_it_was_if_writing_fails(folder, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ResourceError, match="No space left"):
        write_folder(folder, Header("new", "crab", {}, "MIT"), {})
    monkeypatch.undo()
    assert verify(folder).name == "tiny"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_take_its_place(folder, monkeypatch):
    from pathlib import Path

    rename = Path.rename

    def refuse(self, target):
        if self.name == "new":
            raise OSError(1, "Operation not permitted")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ResourceError, match="not permitted"):
        write_folder(folder, Header("new", "crab", {}, "MIT"), {})
    assert read_header(folder).name == "tiny"


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("check", [verify, lambda folder: check_files(folder, read_header(folder))])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(flip, "sha256", id="one-bit"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes instead of", id="cut"),
        pytest.param(lambda path: path.unlink(), "No such file", id="missing"),
    ],
)
def test_damage_is_told_with_the_files_name(folder, name, damage, told, check):
    damage(folder / name)
    with pytest.raises(ModelError, match=told) as caught:
        check(folder)
    assert name in caught.value.message
    assert caught.value.exit_code == 4


def test_large_files_are_hashed_by_verify_only(folder, monkeypatch):
    monkeypatch.setattr("crab_core.weights.folder.ALWAYS_HASHED_BYTES", 0)
    flip(folder / "model.safetensors")
    check_files(folder, read_header(folder))
    with pytest.raises(ModelError, match="sha256"):
        verify(folder)


def test_weights_that_are_no_safetensors_are_told(folder, monkeypatch):
    monkeypatch.setattr("crab_core.weights.folder.ALWAYS_HASHED_BYTES", 0)
    path = folder / "model.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(ModelError, match="cannot be read"):
        read_tensors(folder, read_header(folder), torch.float32)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"format": 2}, "another version", id="format"),
        pytest.param({"colour": 1}, "colour", id="unknown-key"),
        pytest.param({"files": {"../x": {"sha256": "", "bytes": 1}}}, "plain names", id="path-outside"),
        pytest.param({"files": {"a/b": {"sha256": "", "bytes": 1}}}, "plain names", id="sub-folder"),
        pytest.param({"files": {"x": {"size": 1}}}, "size", id="file-fact"),
        pytest.param({"files": [1]}, "list", id="files-no-mapping"),
        pytest.param({"files": {"x": {"sha256": "", "bytes": "1"}}}, "size in bytes", id="size-no-number"),
        pytest.param({"files": {"x": {"sha256": "", "bytes": -1}}}, "size in bytes", id="size-negative"),
        pytest.param({"note": 5}, "note must be text", id="note-no-text"),
        pytest.param({"name": ["a"]}, "name must be text", id="name-no-text"),
        pytest.param({"tasks": "avqa"}, "tasks must be a list, got 'avqa'", id="tasks-one-text"),
        pytest.param({"tasks": [1]}, "tasks must be text", id="tasks-no-texts"),
    ],
)
def test_strange_headers_are_refused(folder, changes, told):
    rewrite(folder, **changes)
    with pytest.raises(ModelError, match=told):
        read_header(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\x00", "[" * 100_000], ids=lambda text: ascii(text[:5]))
def test_a_header_that_is_no_header(folder, text):
    (folder / "crab.json").write_text(text)
    with pytest.raises(ModelError, match="no header"):
        read_header(folder)


def test_no_header_at_all(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        read_header(tmp_path)
