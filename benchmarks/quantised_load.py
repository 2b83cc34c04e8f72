"""Peak memory of this machine while a model folder is loaded, in a process of its own for each way of loading.

    python benchmarks/random_crab.py crab-random --layers 6
    python benchmarks/quantised_load.py crab-random --out benchmarks/results/quantised_load.json

`before_mib` is what Python, torch and the quantiser take; `weights_mib` what the folder holds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from record import add_out, machine, tell, today

LOAD = """
import json, resource, sys, time
import bitsandbytes, torch, crab_core.families.crab_network, crab_core.nn.ilora, transformers.models.llama
from crab_core.engine.session import load
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, began = peak(), time.process_time()
model = load(sys.argv[1], device=sys.argv[2], quantize=sys.argv[3], dtype=sys.argv[4])
held = sum(t.nbytes for t in [*model.network.model.parameters(), *model.network.model.buffers()])
print(json.dumps({"before_mib": round(before), "peak_mib": round(peak()), "held_mib": round(held / 2**20),
                  "cpu_s": round(time.process_time() - began, 1)}))
"""


def measured(folder: Path, device: str, quantize: str, dtype: str) -> dict[str, object]:
    """What one way of loading takes, or what it said when it failed."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder), device, quantize, dtype], capture_output=True, text=True, check=False
    )
    asked = {"device": device, "quantize": quantize, "dtype": dtype}
    if done.returncode:
        return {**asked, "failed": done.stderr.strip().splitlines()[-1]}
    return {**asked, **json.loads(done.stdout.splitlines()[-1])}


def main() -> None:
    """Load the folder in every way asked for and tell the peaks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--quantize", default="4bit,8bit", help="ways of loading, with commas")
    add_out(parser)
    given = parser.parse_args()
    began = time.perf_counter()
    shards = sorted(given.folder.glob("*.safetensors"))
    report = {
        "benchmark": "quantised_load",
        "weights_mib": round(sum(path.stat().st_size for path in shards) / 2**20),
        "largest_shard_mib": round(max(path.stat().st_size for path in shards) / 2**20),
        "rows": [measured(given.folder, given.device, kind, given.dtype) for kind in given.quantize.split(",")],
        "wall_s": round(time.perf_counter() - began, 1),
        "machine": machine(),
        "date": today(),
    }
    tell(report, given.out)


if __name__ == "__main__":
    main()
