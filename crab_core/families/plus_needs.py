"""What a Crab+ network takes of a device's memory, from the headers of its folder: weights, cache, activations.

Peaks do not add up: the towers are done before the decoder reads, so that the larger of the two counts.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch

from crab_core.families._base import Needs, Precision
from crab_core.families.needs import QUESTION_TOKENS, cache_bytes, reading_bytes, weight_bytes
from crab_core.nn.crab_config import ALL_LINEARS
from crab_core.nn.plus_config import PIXEL_STEP, PlusConfig
from crab_core.nn.plus_media import PER_STEP
from crab_core.weights.folder import Header
from crab_core.weights.lazy import open_file

TOKENS_A_SECOND = 25
PATCHES_A_TOKEN = 4
TOWER_STATES = 12  # hidden states of one layer of the vision tower that are alive at once


def needs_of(config: PlusConfig, folder: Path, header: Header, precision: Precision, new_tokens: int) -> Needs:
    """For one clip of the trained length and an answer of that many tokens; reads no weights.

    Raises ModelError if a file of the folder is damaged.
    """
    files = [folder / name for name in header.weights]
    tensors = {name: lazy for path in files for name, lazy in open_file(path).items()}
    each = int(getattr(torch, precision.dtype).itemsize)
    kind = precision.quantize if header.quantized == "none" else "none"
    text, seen = config.thinker["text_config"], _seen_tokens(config)
    asked = seen + _heard_tokens(config) + QUESTION_TOKENS + new_tokens
    tokens = min(int(text.get("max_position_embeddings", asked)), asked)
    largest = max((math.prod(lazy.shape) for name, lazy in tensors.items() if _is_packed(name)), default=0)
    unpacked = largest if precision.quantize != "none" else 0
    return Needs(
        weights=sum(weight_bytes(lazy, each, kind, is_packed=_is_packed(name)) for name, lazy in tensors.items()),
        cache=cache_bytes(text, tokens, each) * (2 if precision.compile else 1),
        activations=max(
            reading_bytes(text, tokens, each, on_cpu=precision.device == "cpu", unpacked=unpacked),
            _seeing_bytes(config, seen * PATCHES_A_TOKEN, each),
        ),
    )


def _is_packed(name: str) -> bool:
    """True for the linears of the text decoder, which are quantised."""
    parts = name.split(".")
    return parts[:2] == ["model", "layers"] and parts[-1] == "weight" and parts[-2] in ALL_LINEARS


def _seen_tokens(config: PlusConfig) -> int:
    media = config.media
    pixels = media.frame_px**2 if media.profile == "published" else media.most_pixels
    return math.ceil(media.frames / PER_STEP) * (pixels // PIXEL_STEP**2)


def _heard_tokens(config: PlusConfig) -> int:
    """The tokens of the task that hears most: two seconds around each look."""
    start, end = config.media.wide_window_s
    return math.ceil(TOKENS_A_SECOND * config.media.frames * max(1.0, end - start))


def _seeing_bytes(config: PlusConfig, patches: int, each: int) -> int:
    """All patches of a clip in one layer of the vision tower, and their pixels in float32."""
    vision = config.thinker["vision_config"]
    widths = TOWER_STATES * int(vision["hidden_size"]) + 3 * int(vision["intermediate_size"])
    pixels = 3 * PER_STEP * int(vision.get("patch_size", 14)) ** 2
    return patches * (widths * each + 2 * pixels * 4)
