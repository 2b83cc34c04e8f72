"""Peak memory while a model folder is loaded packed, written packed and reopened, each in a process of its own.

    python benchmarks/random_crab.py crab-random --layers 6
    python benchmarks/quantised_load.py crab-random --out benchmarks/results/quantised_load.json
    python benchmarks/quantised_load.py crab-random --ways load:bfloat16,quantize,reopen:bfloat16 --packed crab-4bit

Ways: `load:DTYPE` packs while loading, `quantize` writes the folder `--packed`, `reopen:DTYPE` loads that, `host:DTYPE`
tells what loading for a GPU takes of the machine's memory: each tensor is read and, where it would go there, dropped.
`before_mib` is what Python, torch and the quantiser take; `held_mib` what is held after loading, by part; `above_mib`
how much more than both there was at the peak. `process_memory.py` says how memory is measured. What is held in its
file's dtype stays in the mapped file, so that `rss_mib` counts here, not `own_mib`. Rows are added to those that are
there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from process_memory import watched
from record import add_out, machine, tell, today

MIB = 1 << 20
CRAB = "from crab_cli.app import main; main()"
IMPORTS = """
import json, sys
import bitsandbytes, torch, crab_core.families.crab_network, crab_core.nn.ilora, transformers.models.llama
"""
LOAD = f"""{IMPORTS}
from crab_core.engine.session import load
model = load(sys.argv[1], device=sys.argv[2], quantize=sys.argv[3], dtype=sys.argv[4])
held = {{}}
def add(part, tensor):
    if tensor is not None and tensor.device.type == sys.argv[2].partition(":")[0]:
        held[part] = held.get(part, 0) + tensor.nbytes
for name, tensor in [*model.network.model.named_parameters(), *model.network.model.named_buffers()]:
    packed = getattr(tensor, "quant_state", None)
    part = "packed linears" if packed is not None else name.split(".")[0]
    if part == "llm":
        part = "adapters" if "ilora_" in name else "tables and norms"
    add(part, tensor)
    if packed is not None:
        add(part, packed.absmax)
        add(part, packed.state2.absmax)
print()
print(json.dumps({{part: size >> 20 for part, size in held.items()}}))
"""

HOST = f"""{IMPORTS}
from pathlib import Path
from crab_core.families import crab_quantized
from crab_core.families._base import Precision
from crab_core.families.crab import config_of
from crab_core.nn.crab import CrabModel
from crab_core.nn.stored import without_weights
from crab_core.weights.folder import read_header
def touched(tensor):
    tensor.flatten().view(torch.uint8)[::4096].sum()  # every page comes in, as for a copy to a GPU
    return tensor.to("meta")
crab_quantized._read = lambda lazy, dtype, device: touched(lazy.read())
crab_quantized.packed = lambda linear, kind, dtype, device, weight, stats: [linear, touched(weight)][0]
folder = Path(sys.argv[1])
header = read_header(folder)
with without_weights():
    model = CrabModel(config_of(header.config, folder))
precision = Precision("cpu", sys.argv[4], sys.argv[3])
crab_quantized.load_quantized(model, folder, header, precision, lambda found: None)
print()
print(json.dumps({{"buffers": sum(one.nbytes for one in model.buffers() if not one.is_meta) >> 20}}))
"""


def row_of(way: str, folder: Path, packed: Path, device: str, kind: str, before_mib: int) -> dict[str, Any]:
    """What one way takes."""
    name, _, dtype = way.partition(":")
    words = {
        "load": [sys.executable, "-c", LOAD, str(folder), device, kind, dtype],
        "host": [sys.executable, "-c", HOST, str(folder), device, kind, dtype],
        "reopen": [sys.executable, "-c", LOAD, str(packed), device, "none", dtype],
        "quantize": [
            sys.executable,
            "-c",
            CRAB,
            "models",
            "quantize",
            str(folder),
            "--bits",
            kind,
            "-o",
            str(packed),
        ],
    }[name]
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        peak = watched(words, log)
        told = log.read_text().splitlines()[-1]
    row: dict[str, Any] = {"way": name, "quantize": kind, **peak.to_dict(), "before_mib": before_mib}
    if name == "quantize":
        return row | {"above_mib": peak.rss_mib - before_mib, "written_mib": _weights_mib(packed)[0]}
    held = json.loads(told)
    total = sum(held.values())
    above = peak.rss_mib - before_mib - total
    return row | {"device": device, "dtype": dtype, "held_mib": total, "held_by_part_mib": held, "above_mib": above}


def _weights_mib(folder: Path) -> tuple[int, int]:
    """Of all weights, and of the largest file."""
    sizes = [path.stat().st_size >> 20 for path in folder.glob("*.safetensors")]
    return sum(sizes), max(sizes)


def report_of(given: argparse.Namespace, known: list[dict[str, Any]]) -> dict[str, Any]:
    """Every way asked for, after the rows that are known."""
    with tempfile.TemporaryDirectory() as place:
        before = watched([sys.executable, "-c", IMPORTS], Path(place) / "log").rss_mib
    weights, largest = _weights_mib(given.folder)
    ways = given.ways.split(",")
    packed = given.packed or given.folder.with_name(f"{given.folder.name}-{given.quantize}")
    stamp = {"layers": _layers(given.folder), "date": today()}
    rows = [row_of(way, given.folder, packed, given.device, given.quantize, before) | stamp for way in ways]
    return {
        "benchmark": "quantised_load",
        "weights_mib": weights,
        "largest_shard_mib": largest,
        "rows": [*known, *rows],
        "machine": machine(),
    }


def _layers(folder: Path) -> int:
    return json.loads((folder / "crab.json").read_text(encoding="utf-8"))["config"]["llm"]["num_hidden_layers"]


def main() -> None:
    """Load the folder in every way asked for and tell the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quantize", default="4bit", choices=("4bit", "8bit"))
    parser.add_argument("--ways", default="load:float32", help="with commas")
    parser.add_argument("--packed", type=Path, help="the folder that `quantize` writes and `reopen` loads")
    add_out(parser)
    given = parser.parse_args()
    known = json.loads(given.out.read_text())["rows"] if given.out is not None and given.out.is_file() else []
    tell(report_of(given, known), given.out)


if __name__ == "__main__":
    main()
