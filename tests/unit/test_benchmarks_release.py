"""The random release that importing is measured with: its files are as large as the published ones."""

from __future__ import annotations

import math
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import random_release as release  # noqa: E402


def test_its_files_have_the_published_bytes() -> None:
    own = release.own_shapes(32)
    finetune = release.shapes_of(release.deep("finetune_weights", release.LLM_LAYER, 32), own)
    assert 4 * sum(map(math.prod, finetune.values())) == 765_934_032  # computed from the publishers' code
    masks = release.shapes_of(release.mask_names(), own)
    assert 4 * sum(map(math.prod, masks.values())) == 1_165_491_840
    llm = release.shapes_of(release.deep("llama_tiny", release.LLM_LAYER, 32), own)
    assert sum(map(math.prod, llm.values())) == 6_738_415_616  # Llama 2 7B's parameters
    assert [round(2 * sum(map(math.prod, shard.values())) / 1e9, 1) for shard in release.shards_of(llm)] == [10.0, 3.5]
