"""The numbers of a published Crab network, from its tensors' shapes; heads that no shape tells, from config files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from crab_core.families.crab_tokens import ADDED_COUNT
from crab_core.nn.capability import CAPABILITIES, MaskConfig
from crab_core.nn.crab_config import PUBLISHED_LAYERS, CrabConfig, EncoderConfig, ILoraConfig, MediaConfig
from crab_core.nn.ilora import shape_of
from crab_core.nn.mask_decoder import MaskDecoderConfig
from crab_core.nn.qformer import QFormerConfig
from crab_core.weights.lazy import LazyTensor
from crab_core.weights.release import Opened

Tensors = Mapping[str, LazyTensor]

SYSTEM = "You are a helpful assistant."
BERT_HEADS = 12  # of bert-base-uncased, whose config the published projectors were built from
TAKEN = (
    "hidden_act",
    "max_position_embeddings",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "tie_word_embeddings",
    "bos_token_id",
    "eos_token_id",
)


def config_for(opened: Opened, mask_layers: tuple[int, int], alpha: float, positions: str) -> CrabConfig:
    """The config of the network that these tensors make; raises ValueError if they cannot be one network's."""
    parts = opened.tensors
    try:
        finetune, visual = parts["finetune"], _clip(parts["clip"], opened.clip_config)
        bert_heads = int(opened.bert_config.get("num_attention_heads", BERT_HEADS))
        heads, rank = shape_of(finetune)  # type: ignore[arg-type]  # shapes are all that it reads
        return CrabConfig(
            visual=visual,
            audio=_beats(parts["beats"], opened.beats_config),
            vl=_projector(finetune, "vl_projector.", bert_heads),
            al=_projector(finetune, "al_projector.", bert_heads),
            llm=_llm(parts["llm"], opened.llm_config),
            ilora=ILoraConfig(heads=heads, rank=rank, alpha=alpha),
            media=MediaConfig(frame_px=visual.options["image_px"], wide_window_tasks=("avqa",)),
            system=SYSTEM,
            mask=_mask(parts, mask_layers, positions),
        )
    except KeyError as err:
        raise ValueError(f"the tensor or key {err} is lacking") from err
    except TypeError as err:
        raise ValueError(f"a config.json has no number where one belongs: {err}") from err


def _llm(tensors: Tensors, config: Mapping[str, Any]) -> dict[str, Any]:
    vocabulary, width = tensors["llm.model.embed_tokens.weight"].shape
    taken = {name: config[name] for name in TAKEN if config.get(name) is not None}
    return {
        **taken,
        "vocab_size": vocabulary + ADDED_COUNT,
        "hidden_size": width,
        "num_hidden_layers": _count(tensors, r"llm\.model\.layers\.(\d+)\..*"),
        "intermediate_size": tensors["llm.model.layers.0.mlp.up_proj.weight"].shape[0],
        "tie_word_embeddings": "llm.lm_head.weight" not in tensors,
    }


def _clip(tensors: Tensors, config: Mapping[str, Any]) -> EncoderConfig:
    base = "visual_encoder.tower."
    patch_px = tensors[f"{base}embeddings.patch_embedding.weight"].shape[-1]
    places, width = tensors[f"{base}embeddings.position_embedding.weight"].shape
    return EncoderConfig(
        "clip",
        {
            "layers": PUBLISHED_LAYERS,
            "hidden": width,
            "heads": int(config["num_attention_heads"]),
            "ffn": tensors[f"{base}encoder.layers.0.mlp.fc1.weight"].shape[0],
            "image_px": math.isqrt(places - 1) * patch_px,
            "patch_px": patch_px,
            "activation": str(config.get("hidden_act", "quick_gelu")),
        },
    )


def _beats(tensors: Tensors, config: Mapping[str, Any]) -> EncoderConfig:
    base = "audio_encoder."
    patch_width, _, _, patch = tensors[f"{base}patches.weight"].shape
    width, per_group, kernel = tensors[f"{base}position.direction"].shape
    buckets, heads = tensors[f"{base}relative.table.weight"].shape
    return EncoderConfig(
        "beats",
        {
            "patch": patch,
            "patch_width": patch_width,
            "width": width,
            "layers": _count(tensors, r"audio_encoder\.layers\.(\d+)\..*"),
            "heads": heads,
            "ffn": tensors[f"{base}layers.0.mlp.0.weight"].shape[0],
            "position_kernel": kernel,
            "position_groups": width // per_group,
            "buckets": buckets,
            "max_distance": int(config.get("max_distance", 800)),
        },
    )


def _projector(tensors: Tensors, base: str, heads: int) -> QFormerConfig:
    queries, hidden = tensors[f"{base}queries"].shape
    if hidden % heads:
        raise ValueError(f"a projector of width {hidden} cannot have {heads} heads: give its --bert-config")
    return QFormerConfig(
        queries=queries,
        layers=_count(tensors, re.escape(base) + r"qformer\.encoder\.layer\.(\d+)\..*"),
        hidden=hidden,
        heads=heads,
        ffn=tensors[f"{base}qformer.encoder.layer.0.intermediate_query.dense.weight"].shape[0],
        encoder_width=tensors[f"{base}norm.weight"].shape[0],
        out_width=tensors[f"{base}mlp.2.weight"].shape[0],
    )


def _mask(parts: Mapping[str, Tensors], layers: tuple[int, int], positions: str) -> MaskConfig | None:
    """The decoder's numbers; where both kinds of masks are there, they must be of one size."""
    names = tuple(name for name in CAPABILITIES if name in parts)
    if not names:
        return None
    found = {_decoder(parts[name]) for name in names}
    if len(found) > 1:
        raise ValueError("the mask decoders of --avs and --avss differ in size")
    return MaskConfig(found.pop(), layers=layers, capabilities=names, positions=positions)


def _decoder(tensors: Tensors) -> MaskDecoderConfig:
    base = "mask_decoder."
    queries, width = tensors[f"{base}queries"].shape
    return MaskDecoderConfig(
        width=width,
        feature_width=tensors[f"{base}neck.0.weight"].shape[1],
        state_width=tensors[f"{base}embed.0.weight"].shape[0],
        queries=queries,
        ffn=tensors[f"{base}query_layer.ffn.0.weight"].shape[0],
        layers=_count(tensors, r"mask_decoder\.two_way\.0\.layers\.(\d+)\..*"),
        classes=tensors[f"{base}semantic.weight"].shape[0],
    )


def _count(tensors: Tensors, pattern: str) -> int:
    """How many layers the names number."""
    found = {int(match[1]) for name in tensors if (match := re.fullmatch(pattern, name))}
    return max(found) + 1 if found else 0
