"""Every model that has a name. Facts of the published ones: repositories, memory, scores of their papers."""

from __future__ import annotations

from collections.abc import Mapping

from crab_core.weights.spec import ModelSpec, Source

PUBLISHER = "see its publisher"

_CRAB_FILES = ("finetune_weights.bin", "avs_finetune_weights.bin", "avss_finetune_weights.bin")

MODELS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="mini",
            family="crab",
            summary="a demonstration model of the same architecture, trained on generated clips only",
            licence="Apache-2.0",
            tasks=("avqa", "ave", "avvp", "avcap"),
            status="embedded",
            embedded="families/assets/mini",
        ),
        ModelSpec(
            name="crab-7b",
            family="crab",
            summary="Crab (CVPR 2025): Llama-2-7B, CLIP ViT-L/14, BEATs, 3 heads of rank 8",
            licence=f"the Llama 2 Community License for the base; for the rest {PUBLISHER}",
            tasks=("avqa", "ave", "avvp", "avcap"),
            status="import it",
            sources=(
                Source("ahsgdxhs/Crab", PUBLISHER, files=_CRAB_FILES),
                Source("meta-llama/Llama-2-7b-chat-hf", "Llama 2 Community License"),
                Source("openai/clip-vit-large-patch14", PUBLISHER),
                Source("BEATs iter3+ AS2M finetuned (cpt2)", PUBLISHER),
            ),
            memory_gib=(("float32", 27.3), ("bfloat16", 13.6)),
            scores=(("AVE accuracy", 80.15), ("MUSIC-AVQA accuracy", 78.94), ("MS3 mIoU", 58.21)),
            paper="arXiv:2503.13068",
        ),
        ModelSpec(
            name="crab-plus-7b",
            family="crab-plus",
            summary="Crab+ (2026): Qwen2.5-Omni-7B thinker, 3 heads of rank 128",
            licence=PUBLISHER,
            tasks=("avqa", "ave", "avvp", "avcap"),
            status="not importable yet",
            sources=(
                Source("GeWu-Lab/Crab_Plus", PUBLISHER, files=("finetune_weights.bin",)),
                Source("Qwen/Qwen2.5-Omni-7B", PUBLISHER),
            ),
            paper="arXiv:2603.04128",
        ),
    )
}
