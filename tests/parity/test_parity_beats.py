"""BEATs against the published one: weights beats.pt, inputs and outputs audio_encoder.safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.beats import Beats
from crab_core.weights.convert import rename_beats

DATA = Path(__file__).parent / "data"


def tiny_beats(checkpoint: dict) -> Beats:
    cfg = checkpoint["cfg"]
    encoder = Beats(
        patch=cfg["input_patch_size"],
        patch_width=cfg["embed_dim"],
        width=cfg["encoder_embed_dim"],
        layers=cfg["encoder_layers"],
        heads=cfg["encoder_attention_heads"],
        ffn=cfg["encoder_ffn_embed_dim"],
        position_kernel=cfg["conv_pos"],
        position_groups=cfg["conv_pos_groups"],
        buckets=cfg["num_buckets"],
        max_distance=cfg["max_distance"],
    )
    renamed = {rename_beats(key): tensor for key, tensor in checkpoint["model"].items()}
    renamed.pop(None)
    encoder.load_state_dict(renamed, strict=True)
    return encoder.eval()


@pytest.mark.parametrize(
    ("given", "expected", "tokens"),
    [pytest.param("fbank98", "y98", 48, id="1s"), pytest.param("fbank198", "y198", 96, id="2s")],
)
def test_beats_equals_the_published_one(given, expected, tokens, record_property):
    case = load_file(DATA / "audio_encoder.safetensors")
    banks = case[given].flatten(0, -3)
    with torch.inference_mode():
        ours = tiny_beats(torch.load(DATA / "beats.pt", weights_only=True))(banks)
    error = (ours - case[expected].reshape(ours.shape)).abs().max().item()
    record_property("max_error", error)
    assert ours.shape[1] == tokens
    assert error <= 1e-5


def test_renaming_twice_changes_nothing():
    names = [rename_beats(key) for key in torch.load(DATA / "beats.pt", weights_only=True)["model"]]
    assert [rename_beats(name) for name in names if name] == [name for name in names if name]


def test_far_tokens_share_the_last_bucket():
    relative = Beats(patch_width=8, width=16, layers=1, heads=2, ffn=16, position_kernel=4, position_groups=2).relative
    near, far = relative._bucket(torch.tensor([[-79, 0, 79], [-800, 160, 5000]]))
    assert near.tolist() == [79, 0, 79 + 160]
    assert far.tolist() == [159, 104 + 160, 319]
