"""The environment of every test, set before anything imports torch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# A busy neighbour makes torch's spinning threads tens of times slower; waiting passively costs nothing when idle.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# The tensors of the tests are so small that a second thread costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("CRAB_DEBUG", None)

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO
