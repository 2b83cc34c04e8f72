"""Devices and memory are settled before anything is loaded."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from fake_family import FakeFamily, write_model

from crab_core.engine import memory
from crab_core.engine.device import choose
from crab_core.engine.session import load
from crab_core.errors import ModelError, ResourceError, UsageError
from crab_core.families._base import Precision


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with so many GPUs; those of even count know bfloat16."""
    count = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: count % 2 == 0)


@pytest.mark.parametrize(
    ("gpus", "device", "dtype", "place", "kind", "why"),
    [
        pytest.param(
            0, "auto", "auto", "cpu", "float32", "no GPU was found; CPUs compute float32 fastest", id="no gpu"
        ),
        pytest.param(0, "cpu", "bfloat16", "cpu", "bfloat16", "asked for; dtype asked for", id="asked for"),
        pytest.param(2, "auto", "auto", "cuda:0", "bfloat16", "a GPU was found; this GPU has bfloat16", id="new gpu"),
        pytest.param(1, "cuda", "auto", "cuda:0", "float16", "asked for; this GPU has no bfloat16", id="old gpu"),
        pytest.param(2, "cuda:1", "float32", "cuda:1", "float32", "asked for; dtype asked for", id="second gpu"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_device_and_dtype_with_the_reason(device: str, dtype: str, place: str, kind: str, why: str) -> None:
    backend = choose(device, dtype, "4bit")
    assert backend.precision == Precision(place, kind, "4bit")
    assert backend.why == f"{place}, {kind}, quantize 4bit: {why}"


@pytest.mark.parametrize(
    ("gpus", "device", "words", "hint"),
    [
        pytest.param(0, "cuda", "the device 'cuda' is not there: no GPU was found", "--device cpu", id="none"),
        pytest.param(1, "cuda:1", "'cuda:1' is not there: 1 GPU was found", "--device cuda:0", id="one"),
        pytest.param(2, "cuda:7", "'cuda:7' is not there: 2 GPUs were found", "--device cuda:1", id="two"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_a_gpu_that_is_not_there(device: str, words: str, hint: str) -> None:
    with pytest.raises(ResourceError) as caught:
        choose(device)
    assert words in caught.value.message and hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        pytest.param({"device": "gpu"}, "no device is called 'gpu'", id="device"),
        pytest.param({"device": "cuda:x"}, "no device is called 'cuda:x'", id="device number"),
        pytest.param({"dtype": "float8"}, "no dtype is called 'float8'", id="dtype"),
        pytest.param({"quantize": "2bit"}, "no quantisation is called '2bit'", id="quantisation"),
    ],
)
def test_a_name_that_means_nothing(names: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        choose(**names)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("dtype", "quantize", "bytes_"),
    [("float32", "none", 39), ("bfloat16", "none", 20), ("float32", "4bit", 9), ("float16", "8bit", 11)],
)
def test_the_estimate_follows_the_precision(tmp_path: Path, dtype: str, quantize: str, bytes_: int) -> None:
    assert memory.estimate_bytes(write_model(tmp_path), Precision("cpu", dtype, quantize)) == bytes_


@pytest.mark.parametrize(
    ("free", "quantize", "hint"),
    [
        pytest.param(30, "none", "Use --dtype bfloat16: it needs", id="dtype"),
        pytest.param(19, "none", "Use --quantize 8bit: it needs", id="8bit"),
        pytest.param(11, "none", "Use --quantize 8bit --dtype bfloat16: it needs", id="8bit and dtype"),
        pytest.param(9, "none", "Use --quantize 4bit: it needs", id="4bit"),
        pytest.param(3, "none", "No precision makes it fit", id="nothing"),
        pytest.param(8, "4bit", "Use --dtype bfloat16: it needs", id="4bit and dtype"),
        pytest.param(3, "4bit", "No precision makes it fit", id="nothing for 4bit"),
    ],
)
def test_a_model_that_does_not_fit_is_not_loaded_and_the_smallest_change_is_named(
    folder: Path, family: FakeFamily, monkeypatch: pytest.MonkeyPatch, free: int, quantize: str, hint: str
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda device: free)
    with pytest.raises(ResourceError, match="needs about 0.0 MiB and 'cpu' has 0.0 MiB free") as caught:
        load(folder, device="cpu", quantize=quantize)
    assert hint in str(caught.value.hint)
    assert family.loads == []


def test_the_users_own_limit_counts_and_is_named(folder: Path, family: FakeFamily) -> None:
    with pytest.raises(ResourceError, match="'cpu' may use 0.0 MiB \\("):
        memory.check_fits(folder, Precision(), family, max_bytes=5)
    with pytest.raises(UsageError, match="'lots' is no amount of memory"):
        load(folder, device="cpu", max_memory="lots")
    assert load(folder, device="cpu", max_memory="1GiB").name


@pytest.mark.parametrize(
    ("text", "bytes_"), [("6GiB", 6 * 2**30), ("800 MB", 800_000_000), ("0.5KiB", 512), (" 1TB ", 10**12)]
)
def test_amounts_of_memory(text: str, bytes_: int) -> None:
    assert memory.parse_bytes(text) == bytes_


@pytest.mark.parametrize("text", ["", "6", "GiB", "-1GiB", "0GiB", "6 gib", "nan GiB"])
def test_what_is_no_amount_of_memory(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        memory.parse_bytes(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text that is no model",
        struct.pack("<Q", 2**40),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b"{}",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
    ],
    ids=["empty", "text", "huge header", "list", "cut", "deep"],
)
def test_weights_that_are_none(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="are no safetensors file"):
        memory.parameters_of(path)


def test_weights_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the weights .*: No such file"):
        memory.parameters_of(tmp_path / "none.safetensors")


def test_free_memory_is_that_of_the_container_or_the_system(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       5 kB\n")
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert memory._free_of_system(tmp_path / "meminfo") == 5 * 1024
    assert memory._free_of_container(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._free_of_container(tmp_path) is None
    assert memory._free_of_system(tmp_path / "none") is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\n")
    assert memory._free_of_system(tmp_path / "meminfo") is None
    assert (memory.available_bytes("cpu") or 1) > 0


def test_free_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9))
    assert memory.available_bytes("cuda:0") == 7
