"""The estimate against tensors that are really there, and against the published network's numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from tiny_crab import write_tiny

from crab_core.families._base import MeasuredFamily, Precision
from crab_core.families.crab import FAMILY, config_of
from crab_core.families.crab_needs import needs_of
from crab_core.nn.crab import CrabModel
from crab_core.weights.folder import read_header


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


COUNTERS = 14 * 8  # of the batch norms: integers, which no dtype makes smaller


def held(model: CrabModel) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.tensors().values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_those_that_a_loaded_network_holds(folder: Path, dtype: str) -> None:
    precision = Precision(dtype=dtype)
    assert FAMILY.needs(folder, precision, 16).weights == held(FAMILY.load(folder, precision).model)


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_packed_weights_are_counted_as_packed(folder: Path, tmp_path: Path, kind: str) -> None:
    told = FAMILY.needs(folder, Precision(quantize=kind), 16).weights
    FAMILY.quantize_folder(folder, kind, tmp_path / "packed")
    stored = FAMILY.needs(tmp_path / "packed", Precision(quantize=kind), 16).weights
    tables = 14 * (16 + 256 + 2) * 4 + 14 * 200  # small for a real model: tables of codes, a few words a layer
    assert told <= stored <= told + tables
    assert told < FAMILY.needs(folder, Precision(), 16).weights


def test_the_cache_is_that_of_a_run(folder: Path) -> None:
    network = FAMILY.load(folder, Precision())
    config = config_of(read_header(folder).config, folder)
    needs = FAMILY.needs(folder, Precision(), 16)
    tokens = 10 * (config.vl.queries + config.al.queries) + 128 + 16
    with torch.inference_mode():
        cache = network.model.llm(input_ids=torch.full((1, tokens), 300), use_cache=True).past_key_values
    found = sum(layer.keys.numel() + layer.values.numel() for layer in cache.layers) * 4
    assert needs.cache == found


def test_longer_answers_and_finer_numbers_need_more(folder: Path) -> None:
    short, long = (FAMILY.needs(folder, Precision(), tokens) for tokens in (16, 160))
    half = FAMILY.needs(folder, Precision(dtype="bfloat16"), 16)
    assert short.cache < long.cache and short.activations <= long.activations
    assert half.weights * 2 == short.weights + COUNTERS and half.cache * 2 == short.cache
    assert isinstance(FAMILY, MeasuredFamily)


def test_the_published_sizes_cache_and_activations(folder: Path) -> None:
    """Llama-2-7B: 2 x 32 layers x 4096 x 2 bytes = 0.5 MiB of cache a token."""
    config = config_of(read_header(folder).config, folder)
    llm = {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
        "vocab_size": 32017,
        "max_position_embeddings": 4096,
    }
    queries = (
        dataclasses.replace(config.vl, queries=32, out_width=4096),
        dataclasses.replace(config.al, queries=32, out_width=4096),
    )
    real = dataclasses.replace(config, llm=llm, vl=queries[0], al=queries[1])
    needs = needs_of(real, folder, read_header(folder), Precision("cuda:0", "bfloat16", "4bit"), 256)
    assert needs.cache == (10 * 64 + 128 + 256) * 2**19
    assert needs.total < 2**30
