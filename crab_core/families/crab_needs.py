"""What a Crab network takes of a device's memory, from the headers of its folder: weights, cache, activations.

Peaks do not add up: the encoders are done before the LLM reads, so that the larger of the two counts.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from crab_core.families._base import Needs, Precision
from crab_core.nn.crab_config import ALL_LINEARS, CrabConfig
from crab_core.weights.folder import Header
from crab_core.weights.lazy import LazyTensor, open_file

if TYPE_CHECKING:
    from collections.abc import Mapping

QUESTION_TOKENS = 128  # of a prompt beside the media
BLOCK, OUTER_BLOCK = 64, 256  # of NF4's scales, and of the scales' own
ATTENTION_COPIES = 2  # scores and their softmax
STATES = 8  # hidden states of one layer that are alive at once, widths of the LLM


def needs_of(config: CrabConfig, folder: Path, header: Header, precision: Precision, new_tokens: int) -> Needs:
    """For one clip of the trained length and an answer of that many tokens; reads no weights.

    Raises ModelError if a file of the folder is damaged.
    """
    files = [folder / name for name in header.files if name.endswith(".safetensors")]
    tensors = {name: lazy for path in files for name, lazy in open_file(path).items()}
    each = int(getattr(torch, precision.dtype).itemsize)
    kind = precision.quantize if header.quantized == "none" else "none"
    tokens = _tokens(config, new_tokens)
    return Needs(
        weights=sum(_weight_bytes(name, lazy, each, kind) for name, lazy in tensors.items()),
        cache=_cache_bytes(config, tokens, each),
        activations=max(_reading_bytes(config, tensors, tokens, each, precision), _seeing_bytes(config, each)),
    )


def _weight_bytes(name: str, lazy: LazyTensor, each: int, kind: str) -> int:
    count = math.prod(lazy.shape)
    if kind != "none" and _is_packed(name):
        if kind == "8bit":
            return count + 4 * lazy.shape[0]
        return math.ceil(count / 2 + count / BLOCK + 4 * count / (BLOCK * OUTER_BLOCK))
    return count * each if lazy.dtype.is_floating_point else lazy.bytes


def _is_packed(name: str) -> bool:
    """True for the linears of the LLM that are quantised."""
    parts = name.split(".")
    return parts[0] == "llm" and parts[-1] == "weight" and parts[-2] in ALL_LINEARS


def _tokens(config: CrabConfig, new_tokens: int) -> int:
    media = config.media.seconds * (config.vl.queries + config.al.queries)
    return min(int(config.llm["max_position_embeddings"]), media + QUESTION_TOKENS + new_tokens)


def _cache_bytes(config: CrabConfig, tokens: int, each: int) -> int:
    """Keys and values of every layer."""
    llm = config.llm
    heads = int(llm["num_attention_heads"])
    kept = int(llm.get("num_key_value_heads") or heads) * (int(llm["hidden_size"]) // heads)
    return 2 * int(llm["num_hidden_layers"]) * kept * tokens * each


def _reading_bytes(
    config: CrabConfig, tensors: Mapping[str, LazyTensor], tokens: int, each: int, precision: Precision
) -> int:
    """The LLM reading the whole prompt: one layer's states, and one unpacked weight where weights are packed."""
    llm = config.llm
    widths = STATES * int(llm["hidden_size"]) + 3 * int(llm["intermediate_size"])
    scores = ATTENTION_COPIES * int(llm["num_attention_heads"]) * tokens * tokens if precision.device == "cpu" else 0
    largest = max((math.prod(lazy.shape) for name, lazy in tensors.items() if _is_packed(name)), default=0)
    unpacked = largest if precision.quantize != "none" else 0
    return (tokens * widths + scores + unpacked) * each


def _seeing_bytes(config: CrabConfig, each: int) -> int:
    """All frames of a clip in one layer of the visual encoder, with the maps that masks are drawn from."""
    px = config.media.frame_px
    patch = int(config.visual.options.get("patch_px") or config.visual.options.get("patch") or 14)
    patches = (px // patch) ** 2 + 1
    width = config.vl.encoder_width
    heads = max(1, width // 64)
    pixels = 3 * px * px * 4  # float32 while they are normalised
    return config.media.seconds * (patches * width * 12 * each + heads * patches * patches * each + pixels)
