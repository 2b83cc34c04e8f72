"""Steps of fixed shapes: they write what growing ones write, are made once, and give way where somebody watches."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest
import torch
from test_families_crab import GREEDY, PROMPT, make_clip
from test_families_crab_prefix import OTHERS

from crab_core.errors import ResourceError
from crab_core.families._base import Precision
from crab_core.families.crab import FAMILY
from crab_core.families.steps import FixedSteps, steps_for
from crab_core.nn import ilora
from crab_core.types import Decoding


@pytest.fixture(scope="module")
def network(tiny_folder):
    return FAMILY.load(tiny_folder, Precision())


@pytest.fixture(scope="module")
def encoded(network):
    return network.encode(make_clip(network, 4.0), "avqa")


@pytest.fixture
def fixed(network):
    return replace(network, steps=FixedSteps("plain"))


@pytest.mark.parametrize(
    "decoding", [GREEDY, Decoding(max_new_tokens=6, temperature=1.5, seed=3)], ids=["greedy", "sampled"]
)
def test_one_step_serves_all_prompts_that_fit(network, fixed, encoded, decoding):
    for prompt in OTHERS:
        assert fixed.generate(encoded, prompt, decoding) == network.generate(encoded, prompt, decoding)
    assert fixed.steps.made == 1


def test_questions_together_are_those_of_growing_steps(network, fixed, encoded):
    other = network.encode(make_clip(network, 2.0), "avqa")
    clips = [encoded, other, encoded]
    expected = [network.generate(clip, prompt, GREEDY) for clip, prompt in zip(clips, OTHERS, strict=True)]
    assert fixed.generate_batch(clips, OTHERS, GREEDY) == expected
    assert fixed.generate(encoded, PROMPT, GREEDY) == network.generate(encoded, PROMPT, GREEDY)
    assert fixed.steps.made == 2, "another number of rows is another step"


def test_a_longer_answer_gets_a_longer_cache(network, fixed, encoded):
    for tokens in (4, 300, 4):
        decoding = Decoding(max_new_tokens=tokens)
        assert fixed.generate(encoded, PROMPT, decoding) == network.generate(encoded, PROMPT, decoding)
    assert fixed.steps.made == 2


def test_a_memory_is_kept_beside(network, fixed, encoded):
    memory = fixed.memory()
    for prompt in [*OTHERS, *OTHERS]:
        assert fixed.generate_with(memory, encoded, prompt, GREEDY) == network.generate(encoded, prompt, GREEDY)
    assert memory.reused > 0


def test_other_heads_are_another_step_and_watched_routers_see_each_token(network, fixed, encoded):
    fixed.generate(encoded, PROMPT, GREEDY)
    with ilora.heads(network.model.llm, keep=1):
        assert fixed.generate(encoded, PROMPT, GREEDY) == network.generate(encoded, PROMPT, GREEDY)
    assert fixed.steps.made == 2
    with ilora.capture(network.model.llm) as routes:
        told = fixed.generate(encoded, PROMPT, GREEDY)
    read = sum(call.shape[1] for call in next(iter(routes.values())))
    assert read == told.prompt_tokens + len(told.token_ids) - (told.stopped != "eos")


@pytest.mark.parametrize("quantize", ["none", "4bit"])
def test_the_step_is_one_graph(tiny_folder, encoded, monkeypatch, quantize):
    """What torch.compile sees has no break; the backend that only traces needs no compiler."""
    compile_ = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda step, **asked: compile_(step, backend="eager", fullgraph=True, **asked)
    )
    network = FAMILY.load(tiny_folder, Precision(quantize=quantize))
    expected = network.generate(encoded, PROMPT, GREEDY)
    assert replace(network, steps=FixedSteps("compiled")).generate(encoded, PROMPT, GREEDY) == expected


def test_what_cannot_be_compiled_is_told(network, encoded, monkeypatch):
    def broken(_step, **_asked):
        def step():
            raise RuntimeError("no such instruction")

        return step

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(ResourceError, match="cannot be compiled here: no such instruction") as caught:
        replace(network, steps=FixedSteps("compiled")).generate(encoded, PROMPT, GREEDY)
    assert "--compile" in caught.value.hint


def test_the_precision_says_which_step(tiny_folder):
    assert steps_for(Precision()) is None
    assert steps_for(Precision(compile=True)).how == "compiled"
    assert steps_for(Precision("cuda:0", compile=True)).how == "graph"
    assert FAMILY.load(tiny_folder, Precision(compile=True)).steps is not None
    one, both = (FAMILY.needs(tiny_folder, Precision(compile=asked), 16) for asked in (False, True))
    assert both.cache == 2 * one.cache and both.weights == one.weights


@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_a_compiled_step_writes_the_same(network, tiny_folder, encoded):
    compiled = FAMILY.load(tiny_folder, Precision(compile=True))
    for prompt in OTHERS:
        assert compiled.generate(encoded, prompt, GREEDY) == network.generate(encoded, prompt, GREEDY)
    assert compiled.steps.made == 1
