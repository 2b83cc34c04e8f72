"""A weight as 4-bit NF4 with double quantisation, on a CPU, a piece at a time.

bitsandbytes scales, compares and numbers a whole matrix at once, which takes 1 GB for a moment in a 7B model. Blocks
of 64 values do not know each other, so that pieces of whole blocks give the same bits.
Source: QLoRA (arXiv 2305.14314, section 3).
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch

from crab_core.optional import need

BLOCK = 64  # values that share a scale
NESTED_BLOCK = 256  # scales that share a scale of their own
PIECE = BLOCK << 12  # values that are packed at once


def packed_nf4(weight: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """The packed bytes (n / 2, 1) of a weight (out, in) in any floating dtype, and bitsandbytes' state to unpack them.

    Raises MissingExtra if bitsandbytes is not installed.
    """
    functional: ModuleType = need("bitsandbytes.functional", extra="dev", why="--quantize 4bit")
    flat = weight.detach().reshape(-1)
    pieces = [
        functional.quantize_4bit(flat[start : start + PIECE].float(), blocksize=BLOCK, quant_type="nf4")
        for start in range(0, len(flat), PIECE)
    ]
    scales = torch.cat([state.absmax for _, state in pieces])
    offset = scales.mean()
    nested, nested_state = functional.quantize_blockwise(scales - offset, blocksize=NESTED_BLOCK)
    state = functional.QuantState(
        absmax=nested,
        shape=weight.shape,
        dtype=torch.float32,
        blocksize=BLOCK,
        code=pieces[0][1].code,
        quant_type="nf4",
        offset=offset,
        state2=nested_state,
    )
    return torch.cat([data for data, _ in pieces]), state
