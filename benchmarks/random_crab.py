"""A model folder in the shape of Crab-7B with random weights: what speed and memory can be measured with.

    python benchmarks/random_crab.py crab-random                    # 32 layers, bfloat16, about 15 GB
    python benchmarks/random_crab.py crab-tiny --tiny               # a few MB, to try the scripts
    python benchmarks/random_crab.py crab-4bit --packed             # the LLM in 4 bits, about 6 GB

The weights are written one tensor at a time. The tokenizer is the embedded model's: what is written is no text.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crab_core.families.importing import sharded
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig
from crab_core.nn.stored import without_weights
from crab_core.registry import TASKS
from crab_core.weights.folder import Header
from crab_core.weights.lazy import LazyTensor
from crab_core.weights.quantize import linears, packed, packed_tensors
from crab_core.weights.streaming import write_streamed

ASSETS = Path(__file__).parents[1] / "crab_core" / "families" / "assets" / "mini"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
VOCABULARY = 32017  # of Llama 2 with the tokens that the release adds
STD = 0.02
TILE = 1 << 20  # random values that are drawn once and repeated


def config_of(*, tiny: bool, layers: int) -> CrabConfig:
    """The published numbers, or those of a network that a CPU runs at once."""
    width, hidden, clip, beats = (64, 32, 32, 32) if tiny else (4096, 768, 1024, 768)
    small_clip = {"hidden": clip, "heads": 4, "ffn": 64}
    small_beats = {"patch_width": 16, "width": beats, "layers": 1, "heads": 4, "ffn": 64}
    projector = {
        "queries": 32,
        "layers": 2,
        "hidden": hidden,
        "heads": 4 if tiny else 12,
        "ffn": 64 if tiny else 3072,
        "out_width": width,
    }
    decoder: dict[str, Any] = {"feature_width": clip, "state_width": width}
    if tiny:
        decoder |= {"width": 32, "heads": 4, "ffn": 32, "queries": 20}
    llm = {
        "hidden_size": width,
        "intermediate_size": 128 if tiny else 11008,
        "num_hidden_layers": layers,
        "num_attention_heads": 4 if tiny else 32,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    }
    return CrabConfig.from_dict(
        {
            "visual": {"kind": "clip", "options": small_clip if tiny else {}},
            "audio": {"kind": "beats", "options": small_beats if tiny else {}},
            "vl": {**projector, "encoder_width": clip},
            "al": {**projector, "encoder_width": beats},
            "llm": llm,
            "ilora": {"heads": 3, "rank": 8, "alpha": 16.0},
            "media": {"wide_window_tasks": ["avqa"]},
            "mask": {"decoder": decoder, "capabilities": ["avs", "avss"]},
            "system": "You are a helpful assistant.",
        }
    )


def write_random(
    folder: Path,
    *,
    tiny: bool = False,
    layers: int = 32,
    dtype: torch.dtype = torch.bfloat16,
    is_packed: bool = False,
) -> Header:
    """Writes the folder, the LLM in 4 bits if it is packed; the same numbers give the same bytes."""
    config = config_of(tiny=tiny, layers=layers)
    with without_weights():
        model = CrabModel(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.tensors().items()}
    tile = random_tile()
    lazy = {name: random_tensor(name, shape, dtype, tile) for name, shape in shapes.items()}
    if is_packed:
        lazy = _packed(model, lazy)
    files = sharded({name: one for name, one in lazy.items() if _is_of_llm(name)}, "llm")
    files["adapters.safetensors"] = {name: one for name, one in lazy.items() if not _is_of_llm(name)}
    header = Header(
        name="crab-random-tiny" if tiny else "crab-random",
        family="crab",
        config=config.to_dict(),
        licence="none: random numbers",
        profile=json.loads((ASSETS / "crab.json").read_text(encoding="utf-8"))["profile"],
        note="its weights are random: what it writes means nothing",
        tasks=tuple(TASKS),
        quantized="4bit" if is_packed else "none",
    )
    return write_streamed(folder, header, files, {name: (ASSETS / name).read_bytes() for name in TOKENIZER})


def _packed(model: CrabModel, lazy: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """The tensors with the LLM's linears packed; linears of one shape share their bits."""
    kept, made = dict(lazy), {}
    for place in linears(model.llm):
        name = model.stored_name(f"llm.{place.path}.weight").removesuffix(".weight")
        weight = kept.pop(f"{name}.weight")
        if weight.shape not in made:
            bare = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
            made[weight.shape] = packed_tensors("", packed(bare, "4bit", torch.float32, "cpu", weight.read()))
        for ending, tensor in made[weight.shape].items():
            kept[f"{name}{ending}"] = _given(tensor, weight.path)
    return kept


def _given(tensor: torch.Tensor, path: Path) -> LazyTensor:
    return LazyTensor(tuple(tensor.shape), tensor.dtype, path, lambda: tensor)


def _is_of_llm(name: str) -> bool:
    return name.startswith("llm.") and ".ilora_" not in name


def random_tile() -> torch.Tensor:
    """The values (TILE,) that every tensor repeats."""
    return torch.randn(TILE, generator=torch.Generator().manual_seed(0)) * STD


def random_tensor(name: str, shape: tuple[int, ...], dtype: torch.dtype, tile: torch.Tensor) -> LazyTensor:
    """A tensor of the tile's values again and again; ones where a norm scales."""

    def read() -> torch.Tensor:
        if "norm" in name and name.endswith("weight") and len(shape) == 1:
            return torch.ones(shape, dtype=dtype)
        count = math.prod(shape)
        return tile.to(dtype).repeat(-(-count // TILE))[:count].reshape(shape)

    return LazyTensor(shape, dtype, Path(name), read)


def sizes(header: Header) -> Mapping[str, float]:
    """GB by file."""
    return {name: round(fact.bytes / 1e9, 3) for name, fact in header.files.items()}


def main() -> None:
    """Write a folder and tell the sizes of its files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, help="of the LLM (default 32, tiny: 2)")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--packed", action="store_true", help="the LLM in 4 bits")
    given = parser.parse_args()
    layers = given.layers or (2 if given.tiny else 32)
    header = write_random(given.folder, tiny=given.tiny, layers=layers, is_packed=given.packed)
    print(json.dumps(sizes(header), indent=1))


if __name__ == "__main__":
    main()
