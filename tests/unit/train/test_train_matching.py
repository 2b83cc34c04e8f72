"""Heads of all layers under one number: the model answers as before, and its routers agree about the tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from crab_core.nn.ilora.matching import reorder_heads
from crab_core.nn.ilora.routing import routers
from crab_core.train.features import Features
from crab_core.train.matching import match_heads
from crab_core.train.network import read_model
from crab_core.train.pool import PoolPlan
from crab_core.train.settings import Stage
from crab_core.train.texts import RowMaker

CLIPS = 4


def test_shuffled_heads_are_matched_again_and_the_model_says_the_same(tiny_run: Path) -> None:
    model = read_model(tiny_run / "model").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_run / "model")
    config, generator = model.config, torch.Generator().manual_seed(0)
    assert config.ilora is not None
    with torch.no_grad():
        for router in routers(model).values():
            router.weight.mul_(20)  # decided, so that tasks differ
    scenes = [PoolPlan("train", CLIPS).scene(number) for number in range(CLIPS)]
    features = Features(
        torch.randn(CLIPS, 10, 49, config.vl.encoder_width, generator=generator),
        torch.randn(CLIPS, 10, 8, config.al.encoder_width, generator=generator),
    )
    stage = Stage("x", "language", 1, train=("ilora",), samples=2, tasks={"avqa": 1.0, "avvp": 1.0, "ssl": 1.0})
    maps = np.zeros((CLIPS, 10, 56, 56), np.uint8)

    def matched() -> dict[str, torch.Tensor]:
        match_heads(
            model,
            stage,
            features,
            np.array([scene.seconds for scene in scenes]),
            lambda one: RowMaker(tokenizer, model, scenes, maps, one),
        )
        return {name: router.weight.clone() for name, router in routers(model).items()}

    ids = torch.arange(20)[None]
    with torch.no_grad():
        said = model.llm(ids).logits
    first = matched()
    shuffles = np.random.default_rng(1)
    reorder_heads(model, {name: shuffles.permutation(config.ilora.heads).tolist() for name in first})
    second = matched()
    with torch.no_grad():
        torch.testing.assert_close(model.llm(ids).logits, said, atol=1e-4, rtol=1e-4)
    # the common number is free: the same exchange everywhere
    exchanges = {
        tuple(int((weight == row).all(1).nonzero()[0, 0]) for row in second[name]) for name, weight in first.items()
    }
    assert len(exchanges) == 1
