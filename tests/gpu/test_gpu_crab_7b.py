"""Crab-7B's real size with random weights, in 4 bits, on a CUDA device: run with `pytest -m gpu`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
PEAK_BYTES = 7.5 * 2**30  # for 10 s of clip and 256 new tokens


def test_it_infers_localizes_and_segments_within_its_memory(repo: Path, tmp_path: Path) -> None:
    out = tmp_path / "crab_7b.json"
    script = repo / "benchmarks" / "crab_7b.py"
    subprocess.run([sys.executable, script, "--device", "cuda:0", "--out", out], check=True)
    report = json.loads(out.read_text())
    requests = report["requests"]
    assert set(requests) == {"infer", "infer again", "localize", "segment"}
    assert all(one["new_tokens"] > 0 for one in requests.values())
    assert requests["infer again"]["reused_tokens"] > 500
    assert max(one["peak_memory_bytes"]["cuda:0"] for one in requests.values()) <= PEAK_BYTES
    assert report["first_token"]["ratio"] <= 0.3
