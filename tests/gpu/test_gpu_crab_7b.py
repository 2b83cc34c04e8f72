"""Crab-7B's real size with random weights, in 4 bits, on a CUDA device: run with `pytest -m gpu`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gpu
PEAK_BYTES = 7.5 * 2**30  # for 10 s of clip and 256 new tokens


def test_it_infers_localizes_and_segments_within_its_memory(repo: Path, out: Path, device: str, is_tiny: bool) -> None:
    script, report_file = repo / "benchmarks" / "crab_7b.py", out / "crab_7b.json"
    small = ["--tiny", "--new-tokens", "8"] if is_tiny else []
    subprocess.run([sys.executable, script, "--device", device, *small, "--out", report_file], check=True)
    report = json.loads(report_file.read_text())
    requests = report["requests"]
    assert set(requests) == {"infer", "infer again", "localize", "segment"}
    assert all(one["new_tokens"] > 0 for one in requests.values())
    assert requests["infer again"]["reused_tokens"] > 500
    if is_tiny:
        return
    assert max(one["peak_memory_bytes"][device] for one in requests.values()) <= PEAK_BYTES
    assert report["first_token"]["ratio"] <= 0.3
