"""Crab+ with random weights: its peak memory, and its speed beside transformers' `generate()` with the published loop.

    python benchmarks/plus.py --device cuda --quantize 4bit --out plus.json     # full size
    python benchmarks/plus.py --size tiny                                       # anywhere

Random weights say nothing, and write as fast as trained ones. Both write the same number of tokens after the same
prompt of ten frames and ten seconds of sound; the published loop evaluates heads one by one and encodes the clip anew.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crab_core.families.crab_prefix import Prompts, whole
from crab_core.families.decoding import write
from crab_core.nn.crab_config import ILoraConfig
from crab_core.nn.ilora import ILoraLayer, layers
from crab_core.nn.plus import PlusModel
from crab_core.nn.plus_config import PlusConfig
from crab_core.nn.plus_positions import Grid, positions
from crab_core.nn.splice import Row, Splicer
from crab_core.nn.stored import without_weights
from crab_core.types import Decoding
from crab_core.weights.quantize import linears, packed

VISION_BOS, VISION_EOS, VIDEO, AUDIO_BOS, AUDIO_EOS, AUDIO = 40, 41, 42, 43, 44, 45
MARKS = {"vision_start_token_id": VISION_BOS, "video_token_id": VIDEO, "image_token_id": 46}
MARKS |= {"audio_start_token_id": AUDIO_BOS, "audio_token_id": AUDIO, "position_id_per_seconds": 25}
ROPE = {"rope_type": "default", "rope_theta": 1e6}
SIZES: dict[str, tuple[dict[str, Any], int]] = {
    "full": (
        {
            **MARKS,
            "text_config": {
                "vocab_size": 152064,
                "hidden_size": 3584,
                "intermediate_size": 18944,
                "num_hidden_layers": 28,
                "num_attention_heads": 28,
                "num_key_value_heads": 4,
                "tie_word_embeddings": False,
                "rope_parameters": {**ROPE, "mrope_section": [16, 24, 24]},
            },
            "audio_config": {
                "d_model": 1280,
                "encoder_layers": 32,
                "encoder_attention_heads": 20,
                "encoder_ffn_dim": 5120,
                "output_dim": 3584,
            },
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "num_heads": 16,
                "intermediate_size": 3420,
                "out_hidden_size": 3584,
            },
        },
        128,
    ),
    "tiny": (
        {
            **MARKS,
            "text_config": {
                "vocab_size": 272,
                "hidden_size": 64,
                "intermediate_size": 112,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "tie_word_embeddings": False,
                "rope_parameters": {**ROPE, "mrope_section": [2, 3, 3]},
            },
            "audio_config": {
                "d_model": 32,
                "encoder_layers": 2,
                "encoder_attention_heads": 2,
                "encoder_ffn_dim": 64,
                "output_dim": 64,
            },
            "vision_config": {
                "depth": 2,
                "hidden_size": 32,
                "num_heads": 2,
                "intermediate_size": 44,
                "out_hidden_size": 64,
                "fullatt_block_indexes": [1],
            },
        },
        8,
    ),
}


def random_model(size: str, device: str, dtype: torch.dtype, kind: str) -> PlusModel:
    """The network with random weights on a device, one tensor at a time; the decoder's linears packed if asked for."""
    thinker, rank = SIZES[size]
    with without_weights():
        model = PlusModel(PlusConfig(thinker, ILoraConfig(heads=3, rank=rank, alpha=2.0 * rank, dropout=0.0)))
    places = {place.linear: place for place in linears(model.text)} if kind != "none" else {}
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            drawn = torch.randn(parameter.shape, device=device, dtype=dtype) * 0.02
            setattr(module, name, nn.Parameter(drawn, requires_grad=False))
        if module in places:
            made = packed(module, kind, dtype, device, module.weight)
            module.weight = None
            places[module].put(made)
    return model.to(device).eval()


def head_by_head(layer: ILoraLayer) -> Callable[..., torch.Tensor]:
    """The layer's forward in the order of the published code."""
    ups = [layer.head(head).contiguous() for head in range(layer.heads["default"])]
    down, router = layer.ilora_A["default"], layer.ilora_router["default"]

    def forward(x: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        result = layer.base_layer(x)
        route, low = router(x), down(x)
        for head, up in enumerate(ups):
            update = route[..., head : head + 1] * nn.functional.linear(low, up)
            result = result + update * layer.scaling["default"]
        return result

    return forward


def timed(run: Callable[[], object], device: str) -> float:
    """Seconds of a second run."""
    for _ in range(2):
        if device != "cpu":
            torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
    return time.perf_counter() - began


@torch.inference_mode()
def measure(size: str, device: str, dtype: torch.dtype, kind: str, tokens: int) -> dict[str, Any]:
    """Both ways with one network."""
    torch.manual_seed(0)
    model = random_model(size, device, dtype, kind)
    pixels = torch.randn(1280, 1176, device=device, dtype=dtype)
    mel = torch.randn(128, 1000, device=device, dtype=dtype)
    text = list(range(60, 120))
    ids = [1, VISION_BOS, VIDEO, VISION_EOS, AUDIO_BOS, AUDIO, AUDIO_EOS, *text]
    splicer, decoding = Splicer({VIDEO: "video", AUDIO: "audio"}, 0), Decoding(max_new_tokens=tokens)

    def look() -> dict[str, torch.Tensor]:
        return {"video": model.see(pixels, (5, 16, 16)), "audio": model.hear(mel)[None]}

    def ours(seen: dict[str, torch.Tensor]) -> list[list[int]]:
        made = splicer([Row(ids, len(ids), seen)], model.embed)
        stands = positions(made.stretches[0], made.embeds.shape[1], {"video": Grid(8, 8, 2.0)})[:, None].to(device)
        return write(model, whole(model, Prompts(made, stands)), decoding, frozenset())

    seen = look()
    looking_s, writing_s = timed(look, device), timed(lambda: ours(seen), device)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device != "cpu" else None
    for layer in layers(model):
        layer.forward = head_by_head(layer)
    expanded = [1, VISION_BOS, *[VIDEO] * 320, VISION_EOS, AUDIO_BOS, *[AUDIO] * 250, AUDIO_EOS, *text]
    given = {
        "input_ids": torch.tensor([expanded], device=device),
        "attention_mask": torch.ones(1, len(expanded), dtype=torch.long, device=device),
        "pixel_values_videos": pixels,
        "video_grid_thw": torch.tensor([[5, 16, 16]], device=device),
        "video_second_per_grid": torch.tensor([2.0], device=device),
        "input_features": mel[None],
        "feature_attention_mask": torch.ones(1, 1000, dtype=torch.long, device=device),
    }

    def published() -> torch.Tensor:
        settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        return model.thinker.generate(**given, **settings)[:, len(expanded) :]

    published_s = timed(published, device)
    return {
        "same_tokens": ours(seen) == published().tolist(),
        "peak_gib": peak,
        "looking_s": looking_s,
        "first_question_tokens_a_second": tokens / (looking_s + writing_s),
        "next_question_tokens_a_second": tokens / writing_s,
        "published_tokens_a_second": tokens / published_s,
    }


def main() -> None:
    """Measures and prints, or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default=None, help="bfloat16 on a GPU, float32 on a CPU, if not given")
    parser.add_argument("--quantize", choices=("none", "4bit", "8bit"), default="none")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    dtype = given.dtype or ("float32" if given.device == "cpu" else "bfloat16")
    found = measure(given.size, given.device, getattr(torch, dtype), given.quantize, given.tokens)
    name = torch.cuda.get_device_name() if given.device != "cpu" else platform.machine()
    told = {"size": given.size, "machine": name, "dtype": dtype, "quantize": given.quantize, "tokens": given.tokens}
    text = json.dumps({**told, "date": datetime.now(UTC).date().isoformat(), **found}, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
