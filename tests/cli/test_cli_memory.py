"""What memory a command may take, and what it says when there is not enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from fake_family import FakeFamily

if TYPE_CHECKING:
    from conftest import Crab

ASK = {
    "infer": ("Which is first?",),
    "localize": (),
    "segment": (),
    "scan": (),
    "visualize-heads": ("Which is first?", "-o", "OUT"),
}


def words(command: str, clip: Path, tmp_path: Path) -> list[str]:
    """The command about a clip with the options it cannot do without."""
    if command == "eval":
        rows = tmp_path / "rows.jsonl"
        rows.write_text("{}\n")
        return ["eval", "--task", "avqa", "--data", str(rows)]
    return [command, str(clip), *(str(tmp_path / "out") if word == "OUT" else word for word in ASK[command])]


@pytest.mark.parametrize("command", [*ASK, "eval"])
def test_every_command_that_loads_a_model_keeps_to_a_limit(
    crab: Crab, folder: Path, clip: Path, tmp_path: Path, family: FakeFamily, command: str
) -> None:
    said = crab(
        *words(command, clip, tmp_path), "--model", folder, "--device", "cpu", "--max-memory", "0.02KiB", "--quiet"
    )
    assert (said.code, said.out) == (5, "")
    assert "'cpu' may use 0.0 MiB" in said.err
    assert family.loads == []


@pytest.mark.parametrize("command", ["infer", "localize", "segment", "scan", "eval"])
def test_an_amount_of_memory_that_is_none(crab: Crab, folder: Path, clip: Path, tmp_path: Path, command: str) -> None:
    said = crab(*words(command, clip, tmp_path), "--model", folder, "--max-memory", "lots")
    assert said.code == 2 and "'lots' is no amount of memory" in said.err


@pytest.mark.parametrize("stage", ["encode", "generate"])
def test_a_gpu_that_is_full_in_the_middle_of_an_answer(
    infer: Crab, clip: Path, family: FakeFamily, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1.2 GiB free.")

    monkeypatch.setattr(family.network, stage, full)
    said = infer(clip, "Which is first?")
    told = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert (said.code, said.out, len(told)) == (5, "", 2)
    assert told[0].startswith("crab: memory ran out while ") and str(clip) in told[0]
    assert "--quantize 4bit" in told[1]
