"""I-LoRA on one 4096 x 4096 linear: its time over the bare layer, and over a loop that goes head by head.

    OMP_NUM_THREADS=2 python benchmarks/ilora.py --out benchmarks/results/ilora.json

All layers are timed in turn, again and again; each ratio is taken within one turn and the median over turns is told,
so that other work on the machine hits all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.ilora import ILoraConfig, ILoraLayer

Run = Callable[[torch.Tensor], torch.Tensor]


class HeadByHead(nn.Module):
    """The same sums in the order of the published layer: for each head A again, its B, its weight, the scale."""

    def __init__(self, layer: ILoraLayer) -> None:
        super().__init__()
        self.layer = layer
        self.ups = [layer.head(head).detach().contiguous() for head in range(layer.heads["default"])]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, in) -> (B, T, out)."""
        layer, scale = self.layer, self.layer.scaling["default"]
        result = layer.base_layer(x)
        route = layer.ilora_router["default"](x)
        for head, up in enumerate(self.ups):
            low = F.linear(x, layer.ilora_A["default"].weight)
            result = result + route[:, :, head : head + 1] * F.linear(low, up) * scale
        return result


class Fused(nn.Module):
    """Ours with the router and A stacked into one product, made anew each call as training would need it."""

    def __init__(self, layer: ILoraLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, in) -> (B, T, out)."""
        layer = self.layer
        router, down = layer.ilora_router["default"].weight, layer.ilora_A["default"].weight
        logits, low = F.linear(x, torch.cat([router, down])).split([len(router), len(down)], dim=-1)
        route = logits.softmax(-1) * layer.scaling["default"]
        weighed = (route.unsqueeze(-1) * low.unsqueeze(-2)).flatten(-2)
        return layer.base_layer(x) + layer.ilora_B["default"](weighed)


def layer_of(heads: int, rank: int, width: int) -> ILoraLayer:
    """An I-LoRA layer with random weights."""
    torch.manual_seed(0)
    settings = ILoraConfig(heads=heads, rank=rank, alpha=2 * rank, init_weights=False)
    return ILoraLayer(nn.Linear(width, width, bias=False), "default", settings).eval()


def seconds(run: Run, x: torch.Tensor) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run(x)
    return time.perf_counter() - start


@torch.inference_mode()
def compare(heads: int, rank: int, tokens: int, *, width: int, turns: int) -> dict[str, float]:
    """Median milliseconds of each layer, and median ratios within a turn."""
    layer = layer_of(heads, rank, width)
    x = torch.randn(1, tokens, width)
    runs: dict[str, Run] = {
        "bare": layer.base_layer,
        "ours": layer,
        "head_by_head": HeadByHead(layer),
        "fused": Fused(layer),
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
        "ours_over_head_by_head": ratio(spent["ours"], spent["head_by_head"]),
    }


def ratio(ours: list[float], other: list[float]) -> float:
    """The median over turns of ours / other."""
    return round(statistics.median(one / two for one, two in zip(ours, other, strict=True)), 4)


def commit() -> str:
    """The short hash of the commit that was measured, empty outside a checkout."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    """Measure the published sizes, at a prompt of 700 tokens and at one token, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON there and not to stdout")
    parser.add_argument("--turns", type=int, default=15, help="how often all layers are timed (default 15)")
    parser.add_argument("--width", type=int, default=4096, help="inputs and outputs of the layer (default 4096)")
    arguments = parser.parse_args()
    table = []
    for heads, rank, tokens in ((3, 8, 700), (3, 128, 700), (5, 8, 700), (3, 8, 1)):
        turns = arguments.turns if tokens > 1 else 20 * arguments.turns
        figures = compare(heads, rank, tokens, width=arguments.width, turns=turns)
        table.append({"heads": heads, "rank": rank, "tokens": tokens, "turns": turns, **figures})
    report = {
        "benchmark": "ilora",
        "width": arguments.width,
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()} {platform.system()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.now(tz=UTC).date().isoformat(),
        "rows": table,
    }
    text = json.dumps(report, indent=2) + "\n"
    if arguments.out is None:
        print(text, end="")
    else:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
