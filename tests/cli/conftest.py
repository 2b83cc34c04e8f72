"""The fake family and its clip, and the command line run inside the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_family import clip, family, folder

from crab_cli.app import run

__all__ = ["clip", "family", "folder"]


@dataclass(frozen=True)
class Said:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Crab = Callable[..., Said]


@pytest.fixture
def crab(capfd: pytest.CaptureFixture[str]) -> Crab:
    """Runs `crab` with these words; streams of C libraries are heard too."""

    def call(*words: object) -> Said:
        capfd.readouterr()
        code = run([str(word) for word in words])
        return Said(code, *capfd.readouterr())

    return call


@pytest.fixture
def infer(crab: Crab, folder: Path) -> Crab:
    """Runs `crab infer` with the fake model."""
    return lambda *words: crab("infer", *words, "--model", folder, "--device", "cpu")
