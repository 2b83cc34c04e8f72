"""The mask decoder and its losses against the published ones: seg_module_small.safetensors.

It is the published case with the 71 class maps at every eighth pixel and the truth as bytes. Rows: a sample of s4 (one
mask), of ref-avs (one mask, all of it background) and of avss (71 classes).
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.mask_decoder import MaskDecoder, MaskDecoderConfig
from crab_core.nn.mask_losses import mask_loss
from crab_core.weights.convert_mask import rename_mask

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def case():
    return load_file(DATA / "seg_module_small.safetensors")


@pytest.fixture(scope="module")
def decoder(case):
    weights = {name: value for key, value in case.items() if key[:2] == "w." and (name := rename_mask(key[2:]))}
    made = MaskDecoder(MaskDecoderConfig(width=32, feature_width=32, state_width=64, queries=12, ffn=64))
    made.load_state_dict(weights, strict=True)
    return made.eval()


@pytest.fixture(scope="module")
def logits(decoder, case):
    with torch.inference_mode():
        inputs = case["pred_embeddings"], [case["f0"], case["f1"]]
        return {kind: decoder(*inputs, kind) for kind in ("binary", "semantic")}


@pytest.mark.parametrize(("row", "name"), [(0, "mask_s4"), (1, "mask_ref")])
def test_one_mask_equals_the_published_one(logits, case, row, name, record_property):
    error = (logits["binary"][row] - case[name]).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-5
    assert torch.equal(logits["binary"][row] > 0, case[name] > 0)


def test_class_maps_equal_the_published_ones(logits, case, record_property):
    published = case["mask_avss_every_8"]
    ours = logits["semantic"][2][:, 4::8, 4::8]
    error = (ours - published).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-5
    assert torch.equal(ours.argmax(0), published.argmax(0))


@pytest.mark.parametrize(
    ("name", "rows", "kinds"),
    [
        ("loss_s4", [0], ["binary"]),
        ("loss_ref", [1], ["binary"]),
        ("loss_avss", [2], ["semantic"]),
        ("loss_mixed", [0, 1, 2], ["binary", "binary", "semantic"]),
    ],
)
def test_losses_equal_the_published_ones(logits, case, name, rows, kinds):
    made = [logits[kind][row] for row, kind in zip(rows, kinds, strict=True)]
    loss = mask_loss(made, [case["gt"][row].float() for row in rows], kinds)
    assert loss.item() == pytest.approx(case[name].item(), abs=2e-6)


def test_a_batch_gives_what_each_of_its_pictures_gives(decoder, case, logits):
    with torch.inference_mode():
        alone = decoder(case["pred_embeddings"][1:2], [case["f0"][1:2], case["f1"][1:2]])
    assert torch.allclose(alone[0], logits["binary"][1], atol=1e-6)


def test_training_computes_in_the_weights_own_precision_and_reaches_every_weight(decoder, case):
    logits = decoder(case["pred_embeddings"], [case["f0"], case["f1"]])
    classes = decoder(case["pred_embeddings"], [case["f0"], case["f1"]], "semantic")
    assert logits.dtype == torch.float32
    assert (logits[0] - case["mask_s4"]).abs().max() < 1e-3
    mask_loss(
        [logits[0], classes[2]], [case["gt"][0].float(), case["gt"][2].float()], ["binary", "semantic"]
    ).backward()
    assert [name for name, weight in decoder.named_parameters() if weight.grad is None] == []


def test_half_precision_keeps_the_mask(decoder, case):
    half = MaskDecoder(decoder.config)
    half.load_state_dict(decoder.state_dict())
    half = half.bfloat16().eval()
    with torch.inference_mode():
        logits = half(case["pred_embeddings"].bfloat16(), [case["f0"].bfloat16(), case["f1"].bfloat16()])
    assert logits.dtype == torch.float32
    assert ((logits[0] > 0) == (case["mask_s4"] > 0)).float().mean() > 0.9


@pytest.mark.parametrize("wrong", [{"width": 24}, {"queries": 0}, {"classes": 0}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        MaskDecoderConfig(**wrong)


def test_a_loss_needs_a_mask():
    with pytest.raises(ValueError, match="at least one"):
        mask_loss([], [], [])
