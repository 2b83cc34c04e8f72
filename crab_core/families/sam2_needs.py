"""What SAM 2 takes of a device's memory, from its config and the headers of its files; nothing is loaded.

One picture is in its encoder at once, so that only what is remembered of earlier pictures grows, up to a limit. The
counts of copies were set by measuring the smallest published size with random weights (`benchmarks/sam2.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from crab_core.families._base import Needs, Precision
from crab_core.families.needs import weight_bytes
from crab_core.weights.lazy import open_folder

PATCH_PX, MASK_PX = 4, 16  # a side of what the first and the last stage of the picture's encoder sees
BLOCK_WIDTHS = 12  # states of one block of the first stage that are alive at once, in its widths
FUSED_MAPS = 8  # maps of the finest level while the levels are fused
LOOKING_BACK = 8  # copies of all remembered pictures while the next one looks at them
FOLLOWED = 4  # things that an estimate counts on
IMAGES = 4  # the prepared picture and what it is made from, in float32


def needs_of(folder: Path, config: Mapping[str, Any], precision: Precision) -> Needs:
    """Weights, what is remembered of four followed things, and the activations of one picture.

    Raises ModelError if a file of the folder is damaged.
    """
    each = int(getattr(torch, precision.dtype).itemsize)
    tensors, _ = open_folder(folder)
    side = int(config.get("image_size", 1024))
    remembered = int(config.get("num_maskmem", 7))
    channels = int(config.get("memory_encoder_output_channels", 64))
    width = int(config.get("memory_attention_hidden_size", 256))
    places = (side // MASK_PX) ** 2
    kept = max(remembered, int(config.get("max_object_pointers_in_encoder", 16))) + 1
    of_one_picture = (2 * channels * places + width) * each + (side // PATCH_PX) ** 2 * 4  # with its mask in float32
    return Needs(
        weights=sum(weight_bytes(lazy, each, "none", is_packed=False) for lazy in tensors.values()),
        cache=FOLLOWED * kept * of_one_picture,
        activations=_seeing_bytes(config.get("vision_config", {}), side, each)
        + LOOKING_BACK * remembered * places * width * each,
    )


def _seeing_bytes(vision: Mapping[str, Any], side: int, each: int) -> int:
    """The picture in the first stage of the encoder, or its levels being fused."""
    backbone = vision.get("backbone_config", {})
    width = int(backbone.get("embed_dim_per_stage", [backbone.get("hidden_size", 144)])[0])
    patches = (side // PATCH_PX) ** 2
    states = max(BLOCK_WIDTHS * width, 2 * width + FUSED_MAPS * int(vision.get("fpn_hidden_size", 256)))
    return patches * states * each + IMAGES * 3 * side * side * 4
