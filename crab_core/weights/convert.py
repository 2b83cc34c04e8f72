"""How the published checkpoints name their tensors, and what we call them: tables, no arithmetic.

Every published key is known: it is renamed, or it is in a short list of what no forward ever reads. Keys that are
already ours pass unchanged, so that renaming twice changes nothing.
Source: key lists of Crab (arXiv 2503.13068) as its savers write them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from crab_core.errors import WeightsMismatch
from crab_core.weights.convert_mask import rename_mask

if TYPE_CHECKING:
    import torch

# what is saved but never read by a forward: the text branch of the Q-Formers, and tables that are derived
UNUSED = (
    r"(.*\.)?predictor\.(weight|bias)",
    r"(.*\.)?encoder\.layers\.[1-9]\d*\.self_attn\.relative_attention_bias\.weight",  # the first layer's, again
    r".*_Qformer\.bert\.embeddings\.(word_embeddings|position_embeddings)\.weight",
    r".*_Qformer\.bert\.embeddings\.position_ids",
    r".*_Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\.(dense|LayerNorm)\.(weight|bias)",
    r".*_Qformer\.cls\..*",
    r"(.*\.)?rotary_emb\.inv_freq",  # computed
    r"(text_model|text_projection|visual_projection)\..*",  # CLIP's other half
    r"logit_scale",
    r"vision_model\.embeddings\.position_ids",
)

RENAMED = (
    (r"^base_model\.model\.", ""),
    (r"^model\.(vl_projector|al_projector|seg_module|visual_encoder|audio_encoder)\.", r"\1."),
    (r"^model\.(layers|embed_tokens|norm)\.", r"llm.model.\1."),
    (r"^lm_head\.", "llm.lm_head."),
    (r"(^|\.)(visual|audio)_query_tokens$", r"\1queries"),
    (r"(^|\.)(visual|audio)_ln\.", r"\1norm."),
    (r"(^|\.)(visual|audio)_proj\.", r"\1mlp."),
    (r"(^|\.)(visual|audio)_Qformer\.bert\.embeddings\.LayerNorm\.", r"\1qformer.layernorm."),
    (r"(^|\.)(visual|audio)_Qformer\.bert\.", r"\1qformer."),
    (r"(qformer\..*)\.(attention|crossattention)\.self\.", r"\1.\2.attention."),
    (r"^vision_model\.", "visual_encoder.tower."),
)

MASKS = "seg_module."
_PARTS: Mapping[str, str] = {"q": "query", "k": "key", "v": "value", "out": "out"}

# tensors of a BEATs checkpoint, below `audio_encoder.`
BEATS = (
    (r"^patch_embedding\.", "patches."),
    (r"^layer_norm\.", "patch_norm."),
    (r"^post_extract_proj\.", "patch_project."),
    (r"^encoder\.pos_conv\.0\.weight_v$", "position.direction"),
    (r"^encoder\.pos_conv\.0\.weight_g$", "position.magnitude"),
    (r"^encoder\.pos_conv\.0\.bias$", "position.bias"),
    (r"^encoder\.layer_norm\.", "norm."),
    (r"^encoder\.layers\.0\.self_attn\.relative_attention_bias\.", "relative.table."),
    (r"^encoder\.", ""),
    (r"\.self_attn_layer_norm\.", ".attention_norm."),
    (r"\.final_layer_norm\.", ".mlp_norm."),
    (r"\.fc1\.", ".mlp.0."),
    (r"\.fc2\.", ".mlp.2."),
    (r"\.self_attn\.grep_a$", ".attention.gate_scale"),
    (r"\.self_attn\.grep_linear\.", ".attention.gate."),
    (r"\.self_attn\.(q|k|v|out)_proj\.", lambda m: f".attention.{_PARTS[m[1]]}."),
)


def rename(key: str) -> str | None:
    """Our name of a published tensor; None if no forward reads it.

    `base_model.model.model.vl_projector.visual_ln.weight` -> `vl_projector.norm.weight`
    """
    if any(re.fullmatch(pattern, key) for pattern in UNUSED):
        return None
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    if key.startswith(MASKS):
        inner = rename_mask(key.removeprefix(MASKS))
        return None if inner is None else f"mask_decoder.{inner}"
    return key


def rename_beats(key: str) -> str | None:
    """Our name, below `audio_encoder.`, of a tensor of a BEATs checkpoint; None if no forward reads it."""
    if any(re.fullmatch(pattern, key) for pattern in UNUSED):
        return None
    for pattern, replacement in BEATS:
        key = re.sub(pattern, replacement, key)
    return key


def rename_all(tensors: Mapping[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """The tensors under our names; raises WeightsMismatch if two published keys end under one name."""
    renamed: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        name = rename(key)
        if name is None:
            continue
        if name in renamed:
            raise WeightsMismatch(where, [], [key])
        renamed[name] = tensor.squeeze(0) if name.endswith("queries") and tensor.ndim == 3 else tensor
    return renamed
