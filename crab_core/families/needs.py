"""What a decoder takes of a device's memory, by its numbers and the headers of its files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crab_core.weights.lazy import LazyTensor

QUESTION_TOKENS = 128  # of a prompt beside the media
BLOCK, OUTER_BLOCK = 64, 256  # of NF4's scales, and of the scales' own
ATTENTION_COPIES = 2  # scores and their softmax
STATES = 8  # hidden states of one layer that are alive at once, in widths of the decoder


def weight_bytes(lazy: LazyTensor, each: int, kind: str, *, is_packed: bool) -> int:
    """One tensor in memory: packed as `kind`, or in numbers of `each` bytes; integers as they are stored."""
    count = math.prod(lazy.shape)
    if kind != "none" and is_packed:
        if kind == "8bit":
            return count + 4 * lazy.shape[0]
        return math.ceil(count / 2 + count / BLOCK + 4 * count / (BLOCK * OUTER_BLOCK))
    return count * each if lazy.dtype.is_floating_point else lazy.bytes


def cache_bytes(llm: Mapping[str, Any], tokens: int, each: int) -> int:
    """Keys and values of every layer."""
    heads = int(llm["num_attention_heads"])
    kept = int(llm.get("num_key_value_heads") or heads) * (int(llm["hidden_size"]) // heads)
    return 2 * int(llm["num_hidden_layers"]) * kept * tokens * each


def reading_bytes(llm: Mapping[str, Any], tokens: int, each: int, *, on_cpu: bool, unpacked: int) -> int:
    """The decoder reading a whole prompt: one layer's states, and one weight of `unpacked` numbers."""
    widths = STATES * int(llm["hidden_size"]) + 3 * int(llm["intermediate_size"])
    scores = ATTENTION_COPIES * int(llm["num_attention_heads"]) * tokens * tokens if on_cpu else 0
    return (tokens * widths + scores + unpacked) * each
