"""Where these tests run: on a CUDA device, or with CRAB_GPU_TINY=1 on a CPU with small shapes, to see them work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

TINY = bool(os.environ.get("CRAB_GPU_TINY"))


@pytest.fixture
def is_tiny() -> bool:
    """True where nothing of a GPU's speed and memory can be told."""
    return TINY


@pytest.fixture
def device() -> str:
    """`cuda:0`, or `cpu` for small shapes; without either the test is skipped."""
    if TINY:
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return "cuda:0"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder for what is measured: CRAB_GPU_OUT, else one that goes."""
    return Path(os.environ.get("CRAB_GPU_OUT") or tmp_path)
