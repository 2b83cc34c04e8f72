"""Several questions about one clip: one by one, one by one with a memory, padded together, together on one beginning.

    OMP_NUM_THREADS=1 python benchmarks/questions_together.py --out benchmarks/results/questions_together.json

The clip is encoded before. All ways are timed in turn, again and again, to the first token and to the end of the
answers; `..._over_one_by_one` is the median of ratios within a turn. Times are those of the processors; on a GPU those
of the clock, after it has finished.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

from record import add_out, stamp, tell
from second_question import CLIP, seconds

from crab_core.engine.session import Model, Seen, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.families import writing
from crab_core.families._base import Generated
from crab_core.families.crab_prefix import whole
from crab_core.types import Decoding, Request

QUESTIONS = (
    "Which instrument is heard first?",
    "Is the guitar heard before the drum?",
    "How many things are in the video?",
    "Is there a cat in the video?",
    "What is heard last?",
    "Which is louder, the guitar or the drum?",
    "How many sounds do you hear?",
    "Is the drum left of the guitar?",
)
Way = Callable[[Decoding], list[Generated]]


def ways_of(model: Model, clip: Path) -> dict[str, Way]:
    """Every way to write the answers, by name."""
    seen, watch = Seen(model, Request(clip)), Stopwatch()
    asked = [seen.prompt(Request(clip, question=question), watch) for question in QUESTIONS]
    prompts = [prompt for _, prompt in asked]
    encoded, network = seen.encode(asked[0][0], watch)[2], model.network

    def remembering(decoding: Decoding) -> list[Generated]:
        memory = network.memory()
        return [network.generate_with(memory, encoded, prompt, decoding) for prompt in prompts]

    def padded(decoding: Decoding) -> list[Generated]:
        shared, writing.begin = writing.begin, lambda model, laid, memory: _Whole(whole(model, laid))
        try:
            return network.generate_batch([encoded] * len(prompts), prompts, decoding)
        finally:
            writing.begin = shared

    return {
        "one_by_one": lambda decoding: [network.generate(encoded, prompt, decoding) for prompt in prompts],
        "with_memory": remembering,
        "padded": padded,
        "together": lambda decoding: network.generate_batch([encoded] * len(prompts), prompts, decoding),
    }


class _Whole:
    """A block without a shared beginning."""

    def __init__(self, begun: object) -> None:
        self.begun = begun

    def __enter__(self) -> object:
        return self.begun

    def __exit__(self, *error: object) -> None:
        pass


def compare(model: Model, clip: Path, turns: int, new_tokens: int) -> dict[str, object]:
    """Milliseconds of each way, its ratio to one by one, and whether all wrote the same."""
    ways, decoding = ways_of(model, clip), Decoding(max_new_tokens=new_tokens)
    texts = {name: [one.text for one in way(decoding)] for name, way in ways.items()}  # warms up
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            spent[name].append(seconds(lambda way=way: way(decoding), model.precision.device))
    first = spent["one_by_one"]
    return {
        "new_tokens": new_tokens,
        "same_texts": all(one == texts["one_by_one"] for one in texts.values()),
        **{f"{name}_ms": round(1e3 * min(times), 1) for name, times in spent.items()},
        **{
            f"{name}_over_one_by_one": round(statistics.median(a / b for a, b in zip(times, first, strict=True)), 4)
            for name, times in spent.items()
            if name != "one_by_one"
        },
    }


def main() -> None:
    """Measure, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mini", help="a name or a folder (default mini)")
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quantize", default="none")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=160, help="of an answer, at most")
    add_out(parser)
    given = parser.parse_args()
    model = load(given.model, device=given.device, quantize=given.quantize)
    report = {
        "benchmark": "questions_together",
        "model": model.name,
        "questions": len(QUESTIONS),
        "rows": [compare(model, given.clip, given.turns, tokens) for tokens in (1, given.tokens)],
        **stamp(),
    }
    tell(report, given.out)


if __name__ == "__main__":
    main()
