"""`--compile`: what it needs is looked for before a model is loaded, and it changes no answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fake_family import FakeFamily
from test_cli_memory import words

if TYPE_CHECKING:
    from conftest import Crab


@pytest.mark.parametrize("command", ["infer", "localize", "segment", "scan"])
def test_a_missing_compiler_is_told_before_loading(
    crab: Crab, folder: Path, clip: Path, tmp_path: Path, family: FakeFamily, monkeypatch, command: str
) -> None:
    monkeypatch.setenv("CXX", "/no/such/compiler")
    said = crab(*words(command, clip, tmp_path), "--model", folder, "--device", "cpu", "--compile", "--quiet")
    assert (said.code, said.out) == (5, "")
    assert "--compile needs a C++ compiler on a CPU, and '/no/such/compiler' is not there" in said.err
    assert "leave --compile out" in said.err and len(said.err.splitlines()) <= 2
    assert family.loads == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_mini_answers_the_same_compiled(crab: Crab, repo: Path) -> None:
    ask = ("infer", repo / "examples/clips/00004.mp4", "What is heard first?", "--device", "cpu", "--quiet")
    plain, compiled = crab(*ask), crab(*ask, "--compile")
    assert (compiled.code, compiled.out) == (0, plain.out)
