"""How the published checkpoints name the mask decoder's tensors, and what we call them: a table, no arithmetic.

Below `seg_module.` of the published names and below `mask_decoder.` of ours. Source: key lists of Crab
(arXiv 2503.13068).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# the first layer of the query generator is saved, but the second one starts anew from the same queries
UNUSED = r"mask_decoder\.query_generator\.layers\.0\..*"

_ATTENTION: Mapping[str, str] = {"q": "query", "k": "key", "v": "value", "out": "out"}

RENAMED = (
    (r"^text_hidden_fcs\.0\.", "embed."),
    (r"^image_feature_neck\.", "neck."),
    (r"^no_mask_embed\.weight$", "no_mask"),
    (r"^pe_layer\.positional_encoding_gaussian_matrix$", "positions.0.directions"),
    (r"^mask_decoder\.pe1\.positional_encoding_gaussian_matrix$", "positions.1.directions"),
    (r"^mask_decoder\.avs_query_tokens\.weight$", "queries"),
    (r"^mask_decoder\.level_embed\.weight$", "level_embed"),
    (r"^mask_decoder\.query_generator\.layers\.1\.", "query_layer."),
    (r"^mask_decoder\.output_upscaling\.", "upscale."),
    (r"^mask_decoder\.upsample_2x\.", "enlarge."),
    (r"^mask_decoder\.hyper_mlp\.layers\.", "kernels."),
    (r"^mask_decoder\.hyper_mlp_out\.layers\.", "mix."),
    (r"^mask_decoder\.ms3_s4_classfier\.", "binary."),
    (r"^mask_decoder\.avss_classifier\.", "semantic."),
    (r"^mask_decoder\.transformer\.", "two_way."),
    (r"^(two_way\..*)\.self_attn\.", r"\1.self_attention."),
    (r"^(two_way\..*)\.cross_attn_token_to_image\.", r"\1.token_to_image."),
    (r"^(two_way\..*)\.cross_attn_image_to_token\.", r"\1.image_to_token."),
    (r"^(two_way\.\d+)\.final_attn_token_to_image\.", r"\1.final."),
    (r"^(two_way\.\d+)\.norm_final_attn\.", r"\1.final_norm."),
    (r"^(two_way\..*)\.mlp\.lin1\.", r"\1.mlp.0."),
    (r"^(two_way\..*)\.mlp\.lin2\.", r"\1.mlp.2."),
    (r"^(two_way\..*)\.(q|k|v|out)_proj\.", lambda m: f"{m[1]}.{_ATTENTION[m[2]]}."),
)


def rename_mask(key: str) -> str | None:
    """Our name, below `mask_decoder.`, of a tensor of a published mask decoder; None if no forward reads it.

    `mask_decoder.ms3_s4_classfier.weight` -> `binary.weight`
    """
    if re.fullmatch(UNUSED, key):
        return None
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key
