"""The time to the first token of a second question about a clip, over that of the first.

    OMP_NUM_THREADS=1 python benchmarks/second_question.py --out benchmarks/results/second_question.json

The first question decodes the clip, encodes it and reads the whole prompt; the second reads what follows the media.
Both are asked for one token. Times are those of the processors; on a GPU those of the clock, after it has finished.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from record import add_out, stamp, tell

from crab_core.engine.session import Model, Seen, load
from crab_core.types import Decoding, Request

CLIP = Path(__file__).parents[1] / "examples" / "clips" / "00000.mp4"
FIRST, SECOND = "Which instrument is heard first?", "Is the guitar heard before the drum?"
ONE_TOKEN = Decoding(max_new_tokens=1)


def seconds(step: Callable[[], object], device: str) -> float:
    """How long a step takes."""
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    began = clock()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - began


def compare(model: Model, clip: Path, turns: int) -> dict[str, float | int]:
    """The shortest times in milliseconds, and the median over turns of second / first."""
    first, second = [], []
    for _ in range(turns + 1):
        seen = Seen(model, Request(clip))
        first.append(seconds(lambda seen=seen: seen.ask(FIRST, decoding=ONE_TOKEN), model.precision.device))
        second.append(seconds(lambda seen=seen: seen.ask(SECOND, decoding=ONE_TOKEN), model.precision.device))
    first, second = first[1:], second[1:]  # the first turn warms up
    return {
        "turns": turns,
        "first_ms": round(1e3 * min(first), 2),
        "second_ms": round(1e3 * min(second), 2),
        "second_over_first": round(statistics.median(b / a for a, b in zip(first, second, strict=True)), 4),
        "reused_positions": int(getattr(seen._memory, "reused", 0)),
    }


def main() -> None:
    """Measure and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a name or a folder (default mini)")
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--turns", type=int, default=5)
    add_out(parser)
    given = parser.parse_args()
    model = load(given.model, device=given.device, quantize=given.quantize)
    report = {
        "benchmark": "second_question",
        "model": model.name,
        "precision": [model.precision.device, model.precision.dtype, model.precision.quantize],
        "clip": given.clip.name,
        **compare(model, given.clip, given.turns),
        **stamp(),
    }
    tell(report, given.out)


if __name__ == "__main__":
    main()
