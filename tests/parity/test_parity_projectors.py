"""The projectors against the published ones: tests/parity/data/*_projector.safetensors, made by the published code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.qformer import Projector, QFormerConfig, watch_cross_attention
from crab_core.weights.convert import rename_all

DATA = Path(__file__).parent / "data"


def build(case: dict[str, torch.Tensor]) -> Projector:
    published = {key.removeprefix("w."): value for key, value in case.items() if key.startswith("w.")}
    weights = rename_all(published, "golden")
    config = QFormerConfig(
        queries=weights["queries"].shape[0],
        hidden=weights["queries"].shape[1],
        heads=4,
        ffn=weights["qformer.encoder.layer.0.intermediate_query.dense.weight"].shape[0],
        encoder_width=weights["norm.weight"].shape[0],
        out_width=weights["mlp.0.weight"].shape[0],
    )
    projector = Projector(config).eval()
    projector.load_state_dict(weights, strict=True)
    return projector


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        pytest.param("vl_projector", "x", "y", id="visual"),
        pytest.param("al_projector", "x4", "y4", id="audio-segments"),
        pytest.param("al_projector", "x3", "y3", id="audio-one-segment"),
    ],
)
def test_projector_equals_the_published_one(name, given, expected, record_property):
    case = load_file(DATA / f"{name}.safetensors")
    x, y = case[given], case[expected]
    tokens = 256 if name == "vl_projector" else x.shape[-2]
    with torch.inference_mode():
        ours = build(case)(x.reshape(-1, tokens, x.shape[-1])).reshape(y.shape)
    error = (ours - y).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-5


def test_cross_attention_is_seen_without_editing():
    case = load_file(DATA / "vl_projector.safetensors")
    projector = build(case)
    x = case["x"].reshape(-1, 256, 32)
    with torch.inference_mode(), watch_cross_attention(projector) as maps:
        projector(x)
    assert [tuple(m.shape) for m in maps] == [(len(x), 4, 32, 256)] * 2
    assert torch.allclose(maps[0].sum(-1), torch.ones(len(x), 4, 32), atol=1e-5)
    with torch.inference_mode():
        projector(x)
    assert len(maps) == 2
