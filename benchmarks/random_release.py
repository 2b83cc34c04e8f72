"""The files of Crab-7B as its publishers name and size them, with random numbers: what importing can be measured with.

    python benchmarks/random_release.py release                # about 19 GB
    python benchmarks/random_release.py release --layers 2     # the LLM shorter, everything else whole

Names of tensors are those of the tiny release in `tests/parity/data`, their shapes the real network's. The language
model is float16 in shards of at most 10 GB, everything else float32, as published.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from random_crab import VOCABULARY, config_of, random_tensor, random_tile
from safetensors import safe_open

from crab_core.families.crab_tokens import ADDED_COUNT
from crab_core.nn.crab import CrabModel
from crab_core.nn.stored import without_weights
from crab_core.weights.convert import rename, rename_beats
from crab_core.weights.lazy import LazyTensor
from crab_core.weights.streaming import write_safetensors

DATA = Path(__file__).parents[1] / "tests" / "parity" / "data"
SHARD_BYTES = 10_000_000_000
BEATS_LAYERS = 12
LLM_LAYER = r"model\.layers\.(\d+)\."
BEATS_LAYER = r"encoder\.layers\.(\d+)\."
BASE = VOCABULARY - ADDED_COUNT
Shapes = dict[str, tuple[int, ...]]
UNREAD = {  # of the Q-Formers' text half, by the end of their names; nothing reads them
    "word_embeddings.weight": (30522, 768),
    "position_embeddings.weight": (512, 768),
    "intermediate.dense.weight": (3072, 768),
    "intermediate.dense.bias": (3072,),
    "output.dense.weight": (768, 3072),
    "cls.predictions.bias": (30522,),
    "transform.dense.weight": (768, 768),
    "relative_attention_bias.weight": (320, 12),
    "predictor.weight": (527, 768),
    "predictor.bias": (527,),
}
CLIP_TEXT = {  # of CLIP's other half
    "text_model.embeddings.token_embedding.weight": (49408, 768),
    **{
        f"text_model.encoder.layers.{layer}.{name}.weight": shape
        for layer in range(12)
        for name, shape in {
            **{f"self_attn.{part}_proj": (768, 768) for part in ("q", "k", "v", "out")},
            "mlp.fc1": (3072, 768),
            "mlp.fc2": (768, 3072),
        }.items()
    },
    "text_projection.weight": (768, 768),
    "visual_projection.weight": (768, 1024),
}
LLAMA_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "rms_norm_eps": 1e-05,
    "vocab_size": BASE,
}
CLIP_CONFIG = {"vision_config": {"num_attention_heads": 16, "hidden_act": "quick_gelu"}}


def write_release(folder: Path, layers: int = 32) -> Path:
    """llm/, clip/, beats.pt, finetune_weights.bin, avs_finetune_weights.bin and avss_finetune_weights.bin."""
    own = own_shapes(layers)
    for name in ("llm", "clip"):
        (folder / name).mkdir(parents=True)
    _write_llm(folder / "llm", shapes_of(deep("llama_tiny", LLM_LAYER, layers), own))
    _write_clip(folder / "clip", shapes_of(_names("clip_tiny"), own))
    beats = torch.load(DATA / "beats.pt", weights_only=True)
    names = _repeated(beats["model"], BEATS_LAYER, BEATS_LAYERS)
    torch.save({"cfg": beats["cfg"], "model": _real(shapes_of(names, own, _of_beats))}, folder / "beats.pt")
    finetune = shapes_of(deep("finetune_weights", LLM_LAYER, layers), own)
    torch.save(_real(finetune), folder / "finetune_weights.bin")
    torch.save(_real(shapes_of(mask_names(), own)), folder / "avs_finetune_weights.bin")
    shutil.copy(folder / "avs_finetune_weights.bin", folder / "avss_finetune_weights.bin")
    return folder


def own_shapes(layers: int) -> Shapes:
    """The real network's shapes under our names; heads one by one, as a release has them."""
    config = config_of(tiny=False, layers=layers)
    assert config.ilora is not None
    with without_weights():
        found = {name: tuple(tensor.shape) for name, tensor in CrabModel(config).tensors().items()}
    shapes = {}
    for name, shape in found.items():
        name = name.removeprefix("capabilities.avs.")
        if name.endswith(".ilora_B.weight"):
            shapes |= {name.replace("ilora_B", f"lora_B{head}"): (shape[0], config.ilora.rank) for head in range(3)}
        shapes[name.replace(".ilora_A.", ".lora_A.").replace(".ilora_router.", ".lora_route.")] = shape
    for table in ("llm.model.embed_tokens.weight", "llm.lm_head.weight"):
        shapes[f"base.{table}"] = (shapes[table][0] - ADDED_COUNT, shapes[table][1])
    return shapes


def shapes_of(names: Iterable[str], own: Shapes, named: Callable[[str], str | None] = rename) -> Shapes:
    """The real shape of each published tensor."""
    found = {}
    for name in names:
        ours = named(name.replace("query_generator.layers.0.", "query_generator.layers.1."))
        if name in ("model.embed_tokens.weight", "lm_head.weight"):  # of the base, without the added tokens
            ours = f"base.{ours}"
        shape = own[ours] if ours in own else next((shape for end, shape in UNREAD.items() if name.endswith(end)), None)
        if shape is None:
            shape = (768,) if "Qformer" in name else (1024,)  # norms and biases that nothing reads
        found[name] = (1, *shape) if name.endswith("_query_tokens") else shape
    return found


def mask_names() -> list[str]:
    """The tensors of a file of mask weights; the positions' matrices are in no published file."""
    masks = [name for name in _names("avs_finetune_masks") if not name.endswith("gaussian_matrix")]
    return [*masks, *_names("avs_finetune_tokens")]


def shards_of(shapes: Shapes) -> list[Shapes]:
    """The tensors by file, in half precision no file above 10 GB."""
    shards: list[Shapes] = [{}]
    for name, shape in shapes.items():
        if 2 * sum(map(math.prod, [*shards[-1].values(), shape])) > SHARD_BYTES:
            shards.append({})
        shards[-1][name] = shape
    return shards


def _write_llm(folder: Path, shapes: Shapes) -> None:
    """Shards with an index, and a tokenizer of as many tokens."""
    shards = shards_of(shapes)
    places = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_safetensors(folder / file, _lazy(shard, torch.float16))
        places |= dict.fromkeys(shard, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    for path in (DATA / "tokenizer").iterdir():
        shutil.copy(path, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    words |= {f"▁word{number}": number for number in range(len(words), BASE)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def _write_clip(folder: Path, shapes: Shapes) -> None:
    (folder / "config.json").write_text(json.dumps(CLIP_CONFIG))
    write_safetensors(folder / "model.safetensors", _lazy(shapes | CLIP_TEXT, torch.float32))


def _of_beats(name: str) -> str | None:
    inner = rename_beats(name)
    return None if inner is None else f"audio_encoder.{inner}"


def _names(file: str) -> list[str]:
    with safe_open(DATA / f"{file}.safetensors", "pt") as opened:
        return list(opened.keys())


def deep(file: str, layer: str, layers: int) -> list[str]:
    """The names in a file of the tiny release, those of its first layer for every layer of the real network."""
    return _repeated(_names(file), layer, layers)


def _repeated(names: Iterable[str], layer: str, layers: int) -> list[str]:
    """The names with those of the first layer once for every layer, and those of the file's other layers left out."""
    found = []
    for name in names:
        match = re.search(layer, name)
        if match is None:
            found.append(name)
        elif match[1] == "0":
            found += [f"{name[: match.start(1)]}{number}{name[match.end(1) :]}" for number in range(layers)]
    return found


def _lazy(shapes: Shapes, dtype: torch.dtype) -> dict[str, LazyTensor]:
    tile = random_tile()
    return {name: random_tensor(name, shape, dtype, tile) for name, shape in shapes.items()}


def _real(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {name: lazy.read().clone() for name, lazy in _lazy(shapes, torch.float32).items()}


def main() -> None:
    """Write a release and tell the sizes of its files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=32, help="of the LLM")
    given = parser.parse_args()
    write_release(given.folder, given.layers)
    for path in sorted(given.folder.rglob("*")):
        if path.is_file() and path.stat().st_size > 1e6:
            print(f"{path.stat().st_size / 1e9:7.3f} GB  {path.relative_to(given.folder)}")


if __name__ == "__main__":
    main()
