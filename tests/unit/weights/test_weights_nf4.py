"""Packing a piece at a time gives the bits of packing the whole."""

from __future__ import annotations

import bitsandbytes.functional
import pytest
import torch

from crab_core.weights import nf4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((48, 96), id="several-pieces"),
        pytest.param((4, 8), id="less-than-a-block"),
        pytest.param((33, 50), id="ends-within-a-block"),
    ],
)
def test_pieces_are_packed_as_the_whole_is(monkeypatch, dtype, shape) -> None:
    monkeypatch.setattr(nf4, "PIECE", 1024)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    data, state = nf4.packed_nf4(weight)
    expected, whole = bitsandbytes.functional.quantize_4bit(weight.float(), compress_statistics=True, quant_type="nf4")
    assert torch.equal(data, expected)
    assert (state.shape, state.dtype, state.quant_type) == (whole.shape, whole.dtype, whole.quant_type)
    found, wanted = state.as_dict(packed=True), whole.as_dict(packed=True)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
