"""I-LoRA on the linear layers of a Llama 7B: its time over the bare layer, and the published loop's beside it.

    OMP_NUM_THREADS=1 python benchmarks/ilora.py --out benchmarks/results/ilora.json

All layers are timed in turn, again and again. `..._over_bare` is the median of the ratios within a turn, of processor
time, so that other work on the machine hits all of them alike; `..._best` is the ratio of the shortest times.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from head_by_head import HeadByHead
from record import add_out, stamp, tell
from torch import nn

from crab_core.nn.ilora import ILoraConfig, ILoraLayer

SHAPES = {"attention": (4096, 4096), "up": (4096, 11008), "down": (11008, 4096)}  # Llama-2 7B: in, out
TOKENS = {1: 20, 64: 4, 700: 1}  # and how often the turns of 700
Run = Callable[[torch.Tensor], torch.Tensor]


class Learning(nn.Module):
    """Ours as it computes while it learns: the router and A apart, the update added to a copy."""

    def __init__(self, layer: ILoraLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, in) -> (B, T, out)."""
        layer = self.layer
        return torch.add(layer.base_layer(x), layer.mixture(x, "default"), alpha=layer.scaling["default"])


def layer_of(heads: int, rank: int, inputs: int, outputs: int) -> ILoraLayer:
    """An I-LoRA layer with random weights that does not learn."""
    torch.manual_seed(0)
    settings = ILoraConfig(heads=heads, rank=rank, alpha=2 * rank, init_weights=False)
    return ILoraLayer(nn.Linear(inputs, outputs, bias=False), "default", settings).eval().requires_grad_(False)


def seconds(run: Run, x: torch.Tensor) -> float:
    """How much of the processors' time one call takes; what other programs take does not count."""
    start = time.process_time()
    run(x)
    return time.process_time() - start


@torch.inference_mode()
def compare(layer: ILoraLayer, tokens: int, turns: int) -> dict[str, float]:
    """Median milliseconds of each layer, median ratios within a turn and ratios of the shortest times."""
    x = torch.randn(1, tokens, layer.in_features)
    runs: dict[str, Run] = {
        "bare": layer.base_layer,
        "ours": layer,
        "head_by_head": HeadByHead(layer),
        "learning": Learning(layer),
    }
    for run in runs.values():
        torch.testing.assert_close(run(x), layer(x) if run is not layer.base_layer else run(x), atol=1e-3, rtol=1e-3)
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            spent[name].append(seconds(run, x))
    return {
        **{f"{name}_ms": round(1e3 * statistics.median(times), 3) for name, times in spent.items()},
        **{f"{name}_over_bare": ratio(spent[name], spent["bare"]) for name in runs if name != "bare"},
        **{f"{name}_best": round(min(spent[name]) / min(spent["bare"]), 4) for name in runs if name != "bare"},
    }


def ratio(ours: list[float], other: list[float]) -> float:
    """The median over turns of ours / other."""
    return round(statistics.median(one / two for one, two in zip(ours, other, strict=True)), 4)


def main() -> None:
    """Measure at a token, at a few and at a prompt, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_out(parser)
    parser.add_argument("--turns", type=int, default=5, help="how often all layers are timed at 700 tokens (default 5)")
    parser.add_argument("--tiny", action="store_true", help="layers of a hundredth of the size, to try the script")
    arguments = parser.parse_args()
    table = []
    for heads, rank, name in ((3, 8, "attention"), (3, 8, "up"), (3, 8, "down"), (3, 128, "attention")):
        inputs, outputs = (size // 10 if arguments.tiny else size for size in SHAPES[name])
        layer = layer_of(heads, rank, inputs, outputs)
        for tokens, times in TOKENS.items():
            turns = times * arguments.turns
            sizes = {"in": inputs, "out": outputs, "heads": heads, "rank": rank, "tokens": tokens, "turns": turns}
            table.append({"layer": name, **sizes, **compare(layer, tokens, turns)})
    report = {
        "benchmark": "ilora",
        "dtype": "float32",
        "rows": table,
        **stamp(),
    }
    tell(report, arguments.out)


if __name__ == "__main__":
    main()
