"""What a Crab network takes of a device's memory, from the headers of its folder: weights, cache, activations.

Peaks do not add up: the encoders are done before the LLM reads, so that the larger of the two counts.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from crab_core.families._base import Needs, Precision
from crab_core.families.needs import QUESTION_TOKENS, cache_bytes, reading_bytes, weight_bytes
from crab_core.nn.crab_config import ALL_LINEARS, CrabConfig
from crab_core.weights.folder import Header
from crab_core.weights.lazy import open_file


def needs_of(config: CrabConfig, folder: Path, header: Header, precision: Precision, new_tokens: int) -> Needs:
    """For one clip of the trained length and an answer of that many tokens; reads no weights.

    Raises ModelError if a file of the folder is damaged.
    """
    files = [folder / name for name in header.weights]
    tensors = {name: lazy for path in files for name, lazy in open_file(path).items()}
    each = int(getattr(torch, precision.dtype).itemsize)
    kind = precision.quantize if header.quantized == "none" else "none"
    tokens = _tokens(config, new_tokens)
    largest = max((math.prod(lazy.shape) for name, lazy in tensors.items() if _is_packed(name)), default=0)
    unpacked = largest if precision.quantize != "none" else 0
    return Needs(
        weights=sum(weight_bytes(lazy, each, kind, is_packed=_is_packed(name)) for name, lazy in tensors.items()),
        cache=cache_bytes(config.llm, tokens, each) * (2 if precision.compile else 1),
        activations=max(
            reading_bytes(config.llm, tokens, each, on_cpu=precision.device == "cpu", unpacked=unpacked),
            _seeing_bytes(config, each),
        ),
    )


def _is_packed(name: str) -> bool:
    """True for the linears of the LLM that are quantised."""
    parts = name.split(".")
    return parts[0] == "llm" and parts[-1] == "weight" and parts[-2] in ALL_LINEARS


def _tokens(config: CrabConfig, new_tokens: int) -> int:
    media = config.media.seconds * (config.vl.queries + config.al.queries)
    return min(int(config.llm["max_position_embeddings"]), media + QUESTION_TOKENS + new_tokens)


def _seeing_bytes(config: CrabConfig, each: int) -> int:
    """All frames of a clip in one layer of the visual encoder, with the maps that masks are drawn from."""
    px = config.media.frame_px
    patch = int(config.visual.options.get("patch_px") or config.visual.options.get("patch") or 14)
    patches = (px // patch) ** 2 + 1
    width = config.vl.encoder_width
    heads = max(1, width // 64)
    pixels = 3 * px * px * 4  # float32 while they are normalised
    return config.media.seconds * (patches * width * 12 * each + heads * patches * patches * each + pixels)
