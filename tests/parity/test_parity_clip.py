"""CLIP features against the published encoder: weights clip_tiny.safetensors, case visual_encoder.safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.clip import ClipVisualEncoder
from crab_core.weights.convert import rename

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def features():
    encoder = ClipVisualEncoder(hidden=32, heads=4, ffn=64).eval()
    published = load_file(DATA / "clip_tiny.safetensors")
    weights = {rename(key).removeprefix("visual_encoder."): tensor for key, tensor in published.items()}
    behind = {key for key in weights if key.startswith("tower.encoder.layers.23.")}
    encoder.load_state_dict({key: tensor for key, tensor in weights.items() if key not in behind}, strict=True)
    case = load_file(DATA / "visual_encoder.safetensors")
    with torch.inference_mode():
        return encoder(case["video"][0]), case


@pytest.mark.parametrize(("place", "name"), [(0, "f14"), (1, "f22"), (2, "f23")])
def test_hidden_layers_equal_the_published_ones(features, place, name, record_property):
    ours, case = features
    error = (ours[place] - case[name]).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-5


@pytest.mark.parametrize("layers", [(), (3, 2), (2, 2), (-1, 2)])
def test_impossible_layers_are_refused(layers):
    with pytest.raises(ValueError, match="layers must rise"):
        ClipVisualEncoder(layers=layers)
