"""How long `crab` takes from process start: help, and a whole answer against importing torch and a Llama.

python benchmarks/startup.py examples/clips/00000.mp4 [MODEL] [RUNS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

IMPORTS = "import torch; from transformers import LlamaForCausalLM"
QUESTION = "How many things are in the video?"


def seconds(command: list[str]) -> float:
    """Wall time of a process; raises CalledProcessError if it fails."""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main(clip: str, model: str = "mini", runs: str = "5") -> None:
    """Runs the three commands in turns, so that a busy moment of the machine meets all of them."""
    crab = [sys.executable, "-m", "crab_cli"]
    commands = {
        "crab --help": [*crab, "--help"],
        f'python -c "{IMPORTS}"': [sys.executable, "-c", IMPORTS],
        f"crab infer ({model})": [*crab, "infer", clip, QUESTION, "--model", model, "--device", "cpu"],
    }
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(int(runs)):
        for name, command in commands.items():
            spent[name].append(seconds(command))
    for name, times in spent.items():
        print(f"{name:70s} best {min(times):5.2f} s   median {statistics.median(times):5.2f} s")
    _, imports, answer = spent.values()
    print(f"answer / imports: best {min(answer) / min(imports):.2f}", end="   ")
    print(f"median {statistics.median(answer) / statistics.median(imports):.2f}   load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
