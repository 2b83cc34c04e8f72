"""Every model that has a name, and what draws masks for them: repositories, memory, scores of their papers."""

from __future__ import annotations

from collections.abc import Mapping

from crab_core.weights.spec import ModelSpec, RemoteFile, Source

PUBLISHER = "see its publisher"
# not compared with the repositories themselves: what others say of their files
LLAMA_FILES = "file names and sizes as others list them, not compared with the repository; they agree with the shapes"
QWEN_FILES = "file names as others list them, not compared with the repository; sizes unknown"

_BEATS = "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2"


def _crab(role: str, gigabytes: float, *other: str, optional: bool = False) -> Source:
    repository, name = "ahsgdxhs/Crab", "finetune_weights.bin" if role == "finetune" else f"{role}_finetune_weights.bin"
    file = RemoteFile(name, gigabytes, mirrors=tuple((repository, one) for one in other))
    return Source(repository, PUBLISHER, (file,), role, optional=optional)


# The shards' names stand in github.com/Sreyan88/GAMA/issues/1; a public copy's are of 9 976 570 520 and 3 500 296 424
# bytes, 36 KB more than the 291 tensors have in float16: their headers.
_LLAMA = Source(
    "meta-llama/Llama-2-7b-chat-hf",
    "Llama 2 Community License",
    (
        RemoteFile("config.json"),
        RemoteFile("tokenizer.json"),
        RemoteFile("tokenizer_config.json"),
        RemoteFile("model.safetensors.index.json"),
        RemoteFile("model-00001-of-00002.safetensors", 9.98),
        RemoteFile("model-00002-of-00002.safetensors", 3.5),
    ),
    role="llm",
    whole=True,
    gated=True,
    note=LLAMA_FILES,
)
_CLIP = Source(
    "openai/clip-vit-large-patch14",
    PUBLISHER,
    (
        RemoteFile("config.json"),
        RemoteFile(
            "model.safetensors", 1.71, sha256="a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb"
        ),
    ),
    role="clip",
    whole=True,
)
_BEATS_COPY = Source(
    "camenduru/beats",
    PUBLISHER,
    (
        RemoteFile(
            f"{_BEATS}.pt",
            mirrors=(("THUdyh/Ola_speech_encoders", f"{_BEATS}.pt"), (f"WeiChihChen/{_BEATS}", f"{_BEATS}.pt")),
        ),
    ),
    role="beats",
    note="copies by others: the links at github.com/microsoft/unilm/tree/master/beats are dead",
)
# Several public programs ask the repository for these names; its index says which shards there are.
_QWEN = Source(
    "Qwen/Qwen2.5-Omni-7B",
    "Apache-2.0",
    (
        RemoteFile("config.json"),
        RemoteFile("tokenizer_config.json"),
        RemoteFile("vocab.json"),
        RemoteFile("merges.txt"),
        RemoteFile("model.safetensors.index.json"),
        *(RemoteFile(f"model-{shard:05}-of-00005.safetensors") for shard in range(1, 6)),
    ),
    role="base",
    whole=True,
    note=QWEN_FILES,
)
_SAM2 = Source(
    "facebook/sam2.1-hiera-large",
    "Apache-2.0",
    (RemoteFile("config.json"), RemoteFile("model.safetensors")),
    role="sam2",
    whole=True,
    optional=True,
)

MASKERS: Mapping[str, ModelSpec] = {
    "sam2": ModelSpec(
        name="sam2",
        family="sam2",
        summary="SAM 2.1 (2024), the large one: masks of boxes and points",
        licence="Apache-2.0",
        tasks=(),
        status="import it",
        sources=(_SAM2,),
        paper="arXiv:2408.00714",
    )
}

MODELS: Mapping[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="mini",
            family="crab",
            summary="a demonstration model of the same architecture, trained on generated clips only",
            licence="Apache-2.0",
            tasks=("avqa", "ave", "avvp", "avcap", "arig", "ssl", "s4", "ms3", "ref-avs"),
            status="embedded",
            embedded="families/assets/mini",
        ),
        ModelSpec(
            name="crab-7b",
            family="crab",
            summary="Crab (CVPR 2025): Llama-2-7B, CLIP ViT-L/14, BEATs, 3 heads of rank 8",
            licence=f"the Llama 2 Community License for the base; for the rest {PUBLISHER}",
            tasks=("avqa", "ave", "avvp", "arig", "avcap", "s4", "ms3", "ref-avs", "avss"),
            status="import it",
            sources=(
                _LLAMA,
                _CLIP,
                _BEATS_COPY,
                _crab("finetune", 0.766, "adapter_weights.bin"),
                _crab("avs", 1.17, optional=True),
                _crab("avss", 1.17, optional=True),
            ),
            memory_gib=(("float32", 27.3), ("bfloat16", 13.6)),
            scores=(("AVE accuracy", 80.15), ("MUSIC-AVQA accuracy", 78.94), ("MS3 mIoU", 58.21)),
            paper="arXiv:2503.13068",
        ),
        ModelSpec(
            name="crab-plus-7b",
            family="crab-plus",
            summary="Crab+ (2026): Qwen2.5-Omni-7B thinker, 3 heads of rank 128",
            licence=f"Apache-2.0 for the base; for the adapter {PUBLISHER}",
            tasks=(
                *("avqa", "avqa-options", "ave", "avvp", "unav", "avcap", "arig", "s4", "ms3", "ref-avs"),
                *("emotion", "action", "a2v", "v2a"),
            ),
            status="import it",
            sources=(
                _QWEN,
                Source("GeWu-Lab/Crab_Plus", PUBLISHER, (RemoteFile("finetune_weights.bin"),), "finetune"),
                _SAM2,
            ),
            memory_gib=(("float32", 36.5), ("bfloat16", 18.3), ("4bit", 9.2)),
            paper="arXiv:2603.04128",
        ),
    )
}
