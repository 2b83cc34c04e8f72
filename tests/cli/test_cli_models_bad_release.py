"""A release whose files were swapped, cut off, edited or made to harm: two lines, exit code 4, nothing written."""

from __future__ import annotations

import json
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_release import arguments, write_release

Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_release(tmp_path_factory.mktemp("pristine") / "tiny")


@pytest.fixture
def release(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("executed",)


def swapped(one: str, other: str) -> Damage:
    """The first is given where the second should be."""

    def damage(release: Path) -> None:
        target = release / other
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        source = release / one
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)

    return damage


def in_shards(release: Path, suffix: str = "safetensors") -> list[Path]:
    """The language model in two files with an index."""
    tensors = load_file(release / "llama" / "model.safetensors")
    (release / "llama" / "model.safetensors").unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names, places, files = sorted(tensors), {}, []
    for number, part in enumerate((names[:12], names[12:]), start=1):
        path = release / "llama" / f"{stem}-{number:05}-of-00002.{suffix}"
        held = {name: tensors[name].clone() for name in part}
        save_file(held, path) if suffix == "safetensors" else torch.save(held, path)
        places |= dict.fromkeys(part, path.name)
        files.append(path)
    (release / "llama" / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
    return files


def cut(path: Path, count: int) -> None:
    path.write_bytes(path.read_bytes()[:-count])


def edited(file: str, **change: object) -> Damage:
    """A JSON file with some keys changed."""

    def damage(release: Path) -> None:
        path = release / file
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return damage


def lying(**change: object) -> Damage:
    """CLIP's file with an entry of its header changed."""

    def damage(release: Path) -> None:
        path = release / "clip" / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        next(entry for name, entry in header.items() if name != "__metadata__").update(change)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return damage


def index_of(release: Path, name: str) -> None:
    in_shards(release)
    index = release / "llama" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"model.norm.weight": name}}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(swapped("clip", "llama"), "cannot be the --llm", id="clip-as-llm"),
        pytest.param(swapped("llama", "clip"), "cannot be the --clip", id="llm-as-clip"),
        pytest.param(swapped("finetune.bin", "beats.pt"), "looks like the file for --finetune", id="finetune-as-beats"),
        pytest.param(swapped("beats.pt", "finetune.bin"), "looks like the file for --beats", id="beats-as-finetune"),
        pytest.param(lambda r: cut(in_shards(r)[1], 1), "00002-of-00002.safetensors' is damaged", id="shard-cut-by-1"),
        pytest.param(lambda r: cut(in_shards(r, "bin")[0], 5000), "bin' is damaged", id="bin-shard-cut"),
        pytest.param(lambda r: in_shards(r)[1].unlink(), "-00002-of-00002.safetensors' is missing", id="shard-missing"),
        pytest.param(lambda r: in_shards(r, "bin")[0].unlink(), "00002.bin' is missing", id="bin-shard-missing"),
        pytest.param(
            lambda r: index_of(r, "../clip/model.safetensors"), "names no files beside it", id="index-outside"
        ),
        pytest.param(lambda r: torch.save({"a": Evil()}, r / "avs.bin"), "is not opened", id="code-in-an-archive"),
        pytest.param(lying(data_offsets=[0, 1 << 40]), "is damaged", id="offsets-beyond-the-file"),
        pytest.param(lying(shape=[1 << 40]), "is damaged", id="shape-beyond-the-file"),
        pytest.param(lying(dtype="F8_E5M2"), "is damaged", id="unknown-numbers"),
        pytest.param(
            edited("llama/config.json", num_attention_heads="many"), "num_attention_heads", id="heads-in-words"
        ),
        pytest.param(
            edited("llama/config.json", num_attention_heads=5),
            "number of attention heads (5)",
            id="heads-that-do-not-divide",
        ),
        pytest.param(edited("llama/config.json", num_attention_heads=0), "do not make one network", id="no-heads"),
        pytest.param(
            edited("clip/config.json", num_attention_heads=-1), "do not make one network", id="negative-heads"
        ),
        pytest.param(
            edited("clip/config.json", num_attention_heads=None), "no number where one belongs", id="heads-are-null"
        ),
        pytest.param(edited("llama/config.json", hidden_act="magic"), "'magic' is not known", id="unknown-activation"),
        pytest.param(lambda r: (r / "llama/tokenizer.json").write_text("{}"), "tokenizer", id="tokenizer-empty"),
    ],
)
def test_it_is_told_and_leaves_nothing(crab, release: Path, tmp_path: Path, damage: Damage, told: str) -> None:
    damage(release)
    said = crab(*arguments(release, tmp_path / "model"))
    assert said.code == 4, said.err
    assert told in said.err
    assert "executed" not in said.out + said.err and "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 2
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_with_an_index_are_one_model(crab, release: Path, pristine: Path, tmp_path: Path, suffix: str) -> None:
    in_shards(release, suffix)
    assert crab(*arguments(release, tmp_path / "shards")).code == 0
    assert crab(*arguments(pristine, tmp_path / "whole")).code == 0
    one, other = ({} | load_file(tmp_path / name / "llm-01.safetensors") for name in ("shards", "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    """The system refuses to write more than so many bytes to a file, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("is_there", [False, True], ids=["new", "replaced"])
def test_a_disk_that_fills_up_on_the_way(crab, pristine: Path, tmp_path: Path, is_there: bool) -> None:
    out = tmp_path / "model"
    if is_there:
        assert crab(*arguments(pristine, out)).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with files_of_at_most(300_000):
        said = crab(*arguments(pristine, out))
    assert (said.code, "cannot write the model folder" in said.err) == (5, True)
    assert len(said.err.splitlines()) <= 2
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == (["model"] if is_there else [])
