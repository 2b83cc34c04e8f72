"""Crab-7B at its real size with random weights, in 4 bits: infer, localize and segment on a clip; memory and speed.

    python benchmarks/crab_7b.py --device cuda --out crab_7b.json    # writes and deletes a folder of about 15 GB
    python benchmarks/crab_7b.py --tiny --device cpu                  # a network of a few MB, to try the script

The numbers are those of `crab ... --stats`: seconds by part, tokens, peak memory. Random weights write until they may
write no more, so that `infer` measures an answer of the full length.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from random_crab import write_random
from record import add_out, stamp, tell

from crab_core.engine.measuring import measured
from crab_core.engine.session import Model, load
from crab_core.types import Decoding, Request

CLIP = Path(__file__).parents[1] / "examples" / "clips" / "00000.mp4"
QUESTIONS = ("Which instrument is heard first?", "How many things are in the video?")


def asked(model: Model, clip: Path, new_tokens: int) -> dict[str, dict[str, Any]]:
    """What each request costs: two questions about one clip, its events, its masks at one moment."""
    decoding = Decoding(max_new_tokens=new_tokens)
    seen = model.look(clip)
    told = {}
    for name, question in zip(("infer", "infer again"), QUESTIONS, strict=True):
        with measured(model) as stats:
            seen.ask(question, decoding=decoding)
        told[name] = stats.to_dict()
    for name, request in {
        "localize": Request(clip, "avvp"),
        "segment": Request(clip, "s4", at_s=(2.0,)),
    }.items():
        with measured(model) as stats:
            model.infer(request, decoding)
        told[name] = stats.to_dict()
    return told


def first_token(model: Model, clip: Path) -> dict[str, float]:
    """Seconds to the first token of a first question, looking included, and of a second one."""
    one, spent = Decoding(max_new_tokens=1), []
    with measured(model) as stats:
        seen = model.look(clip)
        seen.ask(QUESTIONS[0], decoding=one)
    spent.append(sum(stats.seconds.values()) - stats.seconds["load"])
    with measured(model) as stats:
        seen.ask(QUESTIONS[1], decoding=one)
    spent.append(sum(stats.seconds.values()) - stats.seconds["load"])
    return {"first_s": round(spent[0], 4), "second_s": round(spent[1], 4), "ratio": round(spent[1] / spent[0], 4)}


def report_of(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write the weights, load them, ask."""
    write_random(folder, tiny=given.tiny, layers=given.layers or (2 if given.tiny else 32))
    model = load(folder, device=given.device, quantize=given.quantize, compiled=given.compile)
    asked(model, given.clip, 4)  # warms up
    device = model.precision.device
    return {
        "benchmark": "crab_7b",
        "shapes": "tiny" if given.tiny else "Crab-7B",
        "precision": [device, model.precision.dtype, model.precision.quantize],
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "load_s": round(model.load_s, 2),
        "compiled": given.compile,
        "new_tokens": given.new_tokens,
        "requests": asked(model, given.clip, given.new_tokens),
        "first_token": first_token(model, given.clip),
        **stamp(),
    }


def main() -> None:
    """Measure, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quantize", default="4bit")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--new-tokens", type=int, default=256)
    parser.add_argument("--clip", type=Path, default=CLIP)
    parser.add_argument("--folder", type=Path, help="where the weights go and stay (default: a temporary folder)")
    parser.add_argument("--compile", action="store_true", help="make the step that writes a token once")
    add_out(parser)
    given = parser.parse_args()
    if given.folder is not None:
        report = report_of(given.folder, given)
    else:
        with tempfile.TemporaryDirectory() as parking:
            report = report_of(Path(parking) / "crab-random", given)
    tell(report, given.out)


if __name__ == "__main__":
    main()
