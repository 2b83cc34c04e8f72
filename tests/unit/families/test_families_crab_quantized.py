"""Packed linears: streamed in, written to a folder, and the folder reopened with equal outputs."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_crab import write_tiny

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.families._base import Precision
from crab_core.families.crab import FAMILY
from crab_core.weights.folder import read_header, sha256_of, verify
from crab_core.weights.quantize import linears, quantize

pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt")
KINDS = ("4bit", "8bit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module", params=KINDS)
def packed(request, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / request.param
    FAMILY.quantize_folder(folder, request.param, out)
    return request.param, out


@pytest.fixture(scope="module")
def four_bit(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("four") / "model"
    FAMILY.quantize_folder(folder, "4bit", out)
    return out


def logits(network):
    ids = torch.arange(260, 300)[None]
    with torch.inference_mode():
        return network.model.llm(input_ids=ids).logits


def test_streaming_packs_as_packing_a_loaded_network_does(folder, packed):
    kind, _ = packed
    whole = FAMILY.load(folder, Precision())
    exact = logits(whole)
    assert quantize(whole.model.llm, kind, torch.float32) == 14
    streamed = FAMILY.load(folder, Precision(quantize=kind))
    assert linears(streamed.model.llm) == []
    assert torch.equal(logits(streamed), logits(whole))
    assert not torch.equal(logits(streamed), exact)


def test_a_packed_folder_reopens_with_equal_outputs(folder, packed):
    kind, out = packed
    assert verify(out).quantized == kind
    expected = logits(FAMILY.load(folder, Precision(quantize=kind)))
    for asked in ("none", kind):
        assert torch.equal(logits(FAMILY.load(out, Precision(quantize=asked))), expected)


def test_a_packed_folder_is_smaller_and_the_rest_is_as_it_was(folder, packed):
    _, out = packed
    before, after = load_file(folder / "model.safetensors"), load_file(out / "model.safetensors")
    assert (out / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    same = [name for name in before if name in after and before[name].dtype == after[name].dtype]
    assert len(before) - len(same) == 14
    assert all(torch.equal(before[name], after[name]) for name in same)
    size = sum(tensor.numel() * tensor.element_size() for name, tensor in after.items() if name not in same)
    assert size < sum(before[name].numel() * 4 for name in before if name not in same)


def test_packing_twice_or_in_two_ways_is_refused(packed, tmp_path):
    kind, out = packed
    with pytest.raises(UsageError, match=f"is {kind} already"):
        FAMILY.quantize_folder(out, kind, tmp_path / "again")
    other = next(one for one in KINDS if one != kind)
    with pytest.raises(UsageError, match=f"is {kind}, and --quantize asks for {other}"):
        FAMILY.load(out, Precision(quantize=other))
    assert list(tmp_path.iterdir()) == []


def rewritten(folder, out, change):
    out.mkdir()
    for path in folder.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    tensors = load_file(out / "model.safetensors")
    change(tensors)
    save_file(tensors, out / "model.safetensors")
    header = json.loads((out / "crab.json").read_text())
    file = out / "model.safetensors"
    header["files"][file.name] = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    (out / "crab.json").write_text(json.dumps(header))
    return out


Q = "llm.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        pytest.param(lambda t: t.pop(f"{Q}.weight.absmax"), ModelError, "lack .*absmax", id="no-scales"),
        pytest.param(lambda t: t.pop(f"{Q}.weight"), WeightsMismatch, "lacks", id="no-weight"),
        pytest.param(lambda t: t.update(odd=torch.zeros(1)), WeightsMismatch, "unknown 'odd'", id="unknown"),
        pytest.param(lambda t: t.update({f"{Q}.weight": t[f"{Q}.weight"][:-1]}), ModelError, "is .* but", id="cut"),
        pytest.param(
            lambda t: t.update({f"{Q}.weight.quant_state.bitsandbytes__nf4": torch.zeros(9, dtype=torch.uint8)}),
            ModelError,
            "is damaged",
            id="no-json",
        ),
        pytest.param(
            lambda t: t.update(
                {key: t[key.replace("self_attn.q_proj", "mlp.up_proj")].clone() for key in t if f"{Q}.weight.q" in key}
            ),
            ModelError,
            "says it is",
            id="other-shape",
        ),
    ],
)
def test_damaged_packed_weights_are_told(four_bit, tmp_path, change, error, told):
    bad = rewritten(four_bit, tmp_path / "bad", change)
    with pytest.raises(error, match=told):
        FAMILY.load(bad, Precision())


def test_a_header_without_the_field_is_of_full_precision(folder):
    assert read_header(folder).quantized == "none"
