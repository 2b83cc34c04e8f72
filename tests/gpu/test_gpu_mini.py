"""The embedded model on a CUDA device: run with `pytest -m gpu`."""

from pathlib import Path

import pytest

from crab_core.engine.session import load

pytestmark = pytest.mark.gpu
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
def test_answers_on_the_device_are_those_of_the_cpu(
    repo: Path, device: str, is_tiny: bool, dtype: str, quantize: str
) -> None:
    if is_tiny and dtype != "float32":
        pytest.skip("half precision is slow on a CPU")
    clip = repo / "examples/clips/00003.mp4"
    expected = load("mini", device="cpu").look(clip)
    found = load("mini", device=device, dtype=dtype, quantize=quantize).look(clip)
    pairs = [(expected.ask(question), found.ask(question)) for question in QUESTIONS]
    same = sum(one.answer == other.answer for one, other in pairs)
    assert same == len(QUESTIONS) if dtype == "float32" else same >= 1


@pytest.mark.parametrize("quantize", ["none", "4bit"])
def test_a_recorded_step_writes_what_a_growing_one_does(repo: Path, device: str, is_tiny: bool, quantize: str) -> None:
    if is_tiny:
        pytest.skip("a CPU records nothing; tests/unit/families/test_families_steps.py has its steps")
    clip = repo / "examples/clips/00003.mp4"
    plain, recorded = (
        load("mini", device=device, dtype="float32", quantize=quantize, compiled=compiled).look(clip)
        for compiled in (False, True)
    )
    for question in QUESTIONS:
        assert recorded.ask(question).raw_text == plain.ask(question).raw_text
    assert recorded.model.network.steps.made == 1
