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

if TYPE_CHECKING:
    import torch

# what is saved but never read by a forward: the text branch of the Q-Formers, and tables that are derived
UNUSED = (
    r".*_Qformer\.bert\.embeddings\.(word_embeddings|position_embeddings)\.weight",
    r".*_Qformer\.bert\.embeddings\.position_ids",
    r".*_Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\.(dense|LayerNorm)\.(weight|bias)",
    r".*_Qformer\.cls\..*",
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
    (r"\.(attention|crossattention)\.self\.", r".\1.attention."),
)


def rename(key: str) -> str | None:
    """Our name of a published tensor; None if no forward reads it.

    `base_model.model.model.vl_projector.visual_ln.weight` -> `vl_projector.norm.weight`
    """
    if any(re.fullmatch(pattern, key) for pattern in UNUSED):
        return None
    for pattern, replacement in RENAMED:
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
