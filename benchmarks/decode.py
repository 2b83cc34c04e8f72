"""Milliseconds a token of a 4-bit Llama: bare, with peft's plain LoRA, with our I-LoRA, with the published loop.

    python benchmarks/decode.py --tiny                                   # a CPU, small shapes, to try the script
    python benchmarks/decode.py --device cuda --out decode.json          # Llama-2 7B's shapes, 4 bits, bfloat16

`ilora_fixed` is our I-LoRA on a cache of fixed shapes, `ilora_graph` the same recorded as a CUDA graph (on a GPU), and
`ilora_compiled` the same by torch.compile (with `--compile`, which takes minutes). All are of one base with random
weights and are timed in turn, again and again; the first turn makes the steps and is not counted, ratios are taken
within a turn and the median over turns is told. `bandwidth_share` is what a token reads of the packed weights, by the
copy speed that was measured, over the bare time: 1 would be the machine's limit.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from head_by_head import HeadByHead
from record import add_out, stamp, tell
from torch import nn

from crab_core.errors import ResourceError
from crab_core.families.steps import Begun, FixedSteps, How, growing
from crab_core.nn.ilora import inject  # before transformers' own way to peft
from crab_core.weights.quantize import quantize

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
HEADS, RANK, ALPHA = 3, 8, 16.0
PROMPT = 700  # positions of a clip and its question


class Variants:
    """One quantised Llama whose linears are exchanged: the base's own, or one kind of adapter around them."""

    def __init__(self, *, tiny: bool, layers: int, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.steps: FixedSteps | None = None
        self._steps: dict[str, FixedSteps] = {}
        self.llm = _llama(tiny, layers, device, dtype)
        quantize(self.llm, "4bit", dtype, device)
        self.llm.requires_grad_(False)
        self._places = [
            (parent, name) for parent in self.llm.modules() for name, _ in parent.named_children() if name in TARGETS
        ]
        self._kinds = {"bare": self._now()}
        self._kinds["lora"] = self._wrapped(_plain_lora)
        self._kinds["ilora"] = self._wrapped(lambda llm: inject(llm, heads=HEADS, rank=RANK, alpha=ALPHA))
        self._kinds["published_loop"] = [HeadByHead(layer) for layer in self._kinds["ilora"]]

    def fix(self, hows: Sequence[How]) -> None:
        """Adds our I-LoRA with steps of fixed shapes, made in each of these ways."""
        for how in hows:
            name = {"plain": "ilora_fixed"}.get(how, f"ilora_{how}")
            self._kinds[name], self._steps[name] = self._kinds["ilora"], FixedSteps(how)

    @property
    def names(self) -> list[str]:
        """Every variant."""
        return list(self._kinds)

    def use(self, name: str) -> None:
        """Make the LLM that variant."""
        self.steps = self._steps.get(name)
        for (parent, place), module in zip(self._places, self._kinds[name], strict=True):
            setattr(parent, place, module)

    def packed_bytes(self) -> int:
        """What a token reads of the bare model's packed linears and its output layer."""
        weights = [module.weight for module in self._kinds["bare"]] + [self.llm.lm_head.weight]
        return sum(weight.nbytes for weight in weights)

    def _now(self) -> list[nn.Module]:
        return [getattr(parent, name) for parent, name in self._places]

    def _wrapped(self, wrap: Callable[[nn.Module], object]) -> list[nn.Module]:
        """What an adapter puts around the base's linears, with random weights; the base is bare again afterwards."""
        self.use("bare")
        wrap(self.llm)
        del self.llm.peft_config  # the next kind is no second adapter
        made = self._now()
        for module in made:
            for name, parameter in module.named_parameters():
                if "base_layer" not in name:
                    parameter.data = torch.randn_like(parameter, dtype=self.dtype, device=self.device) * 0.02
        self.use("bare")
        return [module.eval().requires_grad_(False) for module in made]


def _plain_lora(llm: nn.Module) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(TARGETS)), llm)


def _llama(tiny: bool, layers: int, device: str, dtype: torch.dtype) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    width = 256 if tiny else 4096
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=688 if tiny else 11008,
        num_hidden_layers=layers,
        num_attention_heads=4 if tiny else 32,
        vocab_size=1000 if tiny else 32008,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True)
class LlamaDecoder:
    """Implements `families.steps.Decoder`."""

    llm: nn.Module

    @property
    def text(self) -> nn.Module:
        """The LLM without its output layer."""
        return self.llm.model

    @property
    def embed(self) -> nn.Module:
        """Ids to embeddings."""
        return self.llm.get_input_embeddings()

    def read(
        self, embeds: torch.Tensor, attention_mask: torch.Tensor, position_ids: torch.Tensor, cache: object = None
    ) -> torch.Tensor:
        """The states (B, n, W) of embeddings (B, n, W) at positions (1, B, n)."""
        return self.text(
            inputs_embeds=embeds, attention_mask=attention_mask, position_ids=position_ids[0], past_key_values=cache
        ).last_hidden_state

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(..., V) of states (..., W)."""
        return self.llm.lm_head(states)


@torch.inference_mode()
def written(variants: Variants, prompt: int, tokens: int) -> tuple[float, float]:
    """Seconds to read a prompt of so many positions, and for each greedy token after it."""
    from transformers import DynamicCache

    model = LlamaDecoder(variants.llm)
    places = torch.arange(prompt, device=variants.device)[None]
    begun = Begun(
        DynamicCache(config=variants.llm.config), model.embed(places % 999), torch.ones_like(places), places[None]
    )
    began = _now(variants.device)
    chosen = model.logits(model.read(begun.embeds, begun.attention_mask, begun.stands, begun.cache)[:, -1]).argmax(-1)
    read_s = _now(variants.device) - began
    fixed = variants.steps
    advance = growing(model, begun) if fixed is None else fixed.after(model, begun, tokens, ())
    began = _now(variants.device)
    for _ in range(tokens):
        chosen = advance(chosen)[1].argmax(-1)
    return read_s, (_now(variants.device) - began) / tokens


def copy_bytes_per_s(device: str, size: int = 1 << 28) -> float:
    """How fast memory is read: the best of some copies, each of which reads and writes `size` bytes."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    best = float("inf")
    for _ in range(5):
        began = _now(device)
        source.clone()
        best = min(best, _now(device) - began)
    return 2 * size / best


def _now(device: str) -> float:
    """The clock once a GPU is done; the processors' time without one, so that other programs do not count."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def compare(variants: Variants, prompt: int, tokens: int, turns: int) -> dict[str, dict[str, float | str]]:
    """By variant: the shortest times, and the medians of its ratios to the bare model within a turn."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in variants.names}
    failed: dict[str, str] = {}
    for _ in range(turns + 1):  # the first turn warms up
        for name in variants.names:
            variants.use(name)
            if name not in failed:
                try:
                    spent[name].append(written(variants, prompt, tokens))
                except ResourceError as err:  # steps that this machine cannot make; the others still count
                    failed[name] = err.message
                    del spent[name]
    rows: dict[str, dict[str, float | str]] = {name: {"failed": told} for name, told in failed.items()}
    for name, times in spent.items():
        pairs = list(zip(times[1:], spent["bare"][1:], strict=True))
        token_s = min(token for _, token in times[1:])
        rows[name] = {
            "prefill_ms": round(1e3 * min(read for read, _ in times[1:]), 3),
            "token_ms": round(1e3 * token_s, 3),
            "tokens_per_s": round(1 / token_s, 2),
            "prefill_over_bare": round(statistics.median(ours[0] / bare[0] for ours, bare in pairs), 4),
            "token_over_bare": round(statistics.median(ours[1] / bare[1] for ours, bare in pairs), 4),
        }
    return rows


def main() -> None:
    """Measure, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true", help="small shapes")
    parser.add_argument("--layers", type=int, help="of the Llama (default 32, tiny: 2)")
    parser.add_argument("--prompt", type=int, default=PROMPT)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="time torch.compile too")
    add_out(parser)
    given = parser.parse_args()
    layers = given.layers or (2 if given.tiny else 32)
    dtype = torch.float32 if given.device == "cpu" else torch.bfloat16
    variants = Variants(tiny=given.tiny, layers=layers, device=given.device, dtype=dtype)
    variants.fix(("plain", *(("graph",) if given.device != "cpu" else ()), *(("compiled",) if given.compile else ())))
    rows = compare(variants, given.prompt, given.tokens, given.turns)
    bandwidth = copy_bytes_per_s(given.device)
    is_gpu = given.device != "cpu"
    report = {
        "benchmark": "decode",
        "shapes": "tiny" if given.tiny else "Llama-2 7B",
        "layers": layers,
        "prompt": given.prompt,
        "tokens": given.tokens,
        "turns": given.turns,
        "rows": rows,
        "bandwidth_share": round(variants.packed_bytes() / bandwidth / (rows["bare"]["token_ms"] / 1e3), 4),
        "copy_gb_per_s": round(bandwidth / 1e9, 1),
        "peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if is_gpu else None,
        "device": torch.cuda.get_device_name() if is_gpu else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        **stamp(),
    }
    tell(report, given.out)


if __name__ == "__main__":
    main()
