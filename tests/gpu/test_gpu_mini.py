"""The embedded model on a CUDA device: run with `pytest -m gpu`."""

from pathlib import Path

import pytest
import torch

from crab_core.engine.session import load

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
QUESTIONS = ["What do you hear?", "How many things are in the video?", "What can be seen?"]


@pytest.mark.parametrize(
    ("dtype", "quantize"),
    [
        pytest.param("float32", "none", id="fp32"),
        pytest.param("bfloat16", "none", id="bf16"),
        pytest.param("float16", "none", id="fp16"),
        pytest.param("bfloat16", "4bit", id="4bit"),
    ],
)
def test_answers_on_cuda_are_those_of_the_cpu(repo: Path, dtype: str, quantize: str) -> None:
    clip = repo / "examples/clips/00003.mp4"
    expected = load("mini", device="cpu").look(clip)
    found = load("mini", device="cuda", dtype=dtype, quantize=quantize).look(clip)
    pairs = [(expected.ask(question), found.ask(question)) for question in QUESTIONS]
    same = sum(one.answer == other.answer for one, other in pairs)
    assert same == len(QUESTIONS) if dtype == "float32" else same >= 1
