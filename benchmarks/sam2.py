"""What SAM 2 takes while it draws and tracks: published sizes with random weights, beside the estimate before loading.

    python benchmarks/sam2.py --size large --pictures 9
    python benchmarks/sam2.py --size large --pictures 6000 --device cuda --dtype bfloat16

Peaks are those of the process (Linux), or on a GPU what torch held there, less what was there with the weights loaded.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crab_core.families._base import Place, Precision
from crab_core.families.sam2 import Sam2, load
from crab_core.types import Box

MIB = 1 << 20
SIZES: dict[str, dict[str, list[int]]] = {  # sam2.1-hiera-NAME
    "tiny": {"blocks": [1, 2, 7, 2], "widths": [96, 192, 384, 768], "heads": [1, 2, 4, 8], "whole": [5, 7, 9]},
    "large": {
        "blocks": [2, 6, 36, 4],
        "widths": [144, 288, 576, 1152],
        "heads": [2, 4, 8, 16],
        "whole": [23, 33, 43],
    },
}


def config_of(size: str) -> Any:
    """transformers' config of a published size."""
    from transformers import Sam2VideoConfig

    numbers = SIZES[size]
    widths = numbers["widths"]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "blocks_per_stage": numbers["blocks"],
        "embed_dim_per_stage": widths,
        "num_attention_heads": numbers["heads"][0],
        "num_attention_heads_per_stage": numbers["heads"],
        "window_size_per_stage": [8, 4, 16, 8] if size == "large" else [8, 4, 14, 7],
        "global_attention_blocks": numbers["whole"],
    }
    vision = {"backbone_config": backbone, "backbone_channel_list": widths[::-1]}
    return Sam2VideoConfig(vision_config=vision)


def write_random(folder: Path, size: str) -> None:
    """A folder in the published form with random weights of a published size."""
    from transformers import Sam2VideoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    Sam2VideoModel(config_of(size)).eval().save_pretrained(folder)


class Peak:
    """The most memory since the start, in MiB: of the process, or what torch held of a GPU."""

    def __init__(self, device: str) -> None:
        self._on_gpu = device.startswith("cuda")
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = self._now()

    def __call__(self) -> int:
        """Less what was there when this began."""
        return round(self._now() - self._before)

    def _now(self) -> float:
        if self._on_gpu:
            return torch.cuda.max_memory_allocated() / MIB
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def followed(masker: Sam2, pictures: int, things: int, size: tuple[int, int], peak: Peak) -> list[dict[str, Any]]:
    """Peaks while boxes are followed, after the first picture, the tenth, the hundredth and so on, and the last."""
    width, height = size
    still = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    boxes = [Box("thing", 10.0 * n, 10.0 * n, width / 2, height / 2) for n in range(things)]
    tracker = masker.tracker()
    rows = []
    for number in range(pictures):
        began = time.perf_counter()
        picture = np.roll(still, number, 1)
        if number == 0:
            tracker.start(picture, [Place(box.label, box) for box in boxes])
        else:
            tracker.follow(picture)
        if number + 1 in (1, 10, 100, 1000, pictures):
            took = round(time.perf_counter() - began, 2)
            rows.append({"pictures": number + 1, "peak_mib": peak(), "kept": tracker.remembered, "last_s": took})
    return rows


def main() -> None:
    """Draw once, follow through the pictures, tell what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="large")
    parser.add_argument("--pictures", type=int, default=9)
    parser.add_argument("--things", type=int, default=2, help="followed together")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--frame", default="1280x720")
    given = parser.parse_args()
    width, _, height = given.frame.partition("x")
    precision = Precision(given.device, given.dtype)
    with tempfile.TemporaryDirectory() as parking:
        folder = Path(parking) / given.size
        apart = multiprocessing.get_context("spawn").Process(target=write_random, args=(folder, given.size))
        apart.start()  # what is built there leaves no peak here
        apart.join()
        masker = load(folder, precision)
        needs = masker.needs(precision)
        held = sum(float(weight.abs().max()) for weight in masker.network("video").parameters())  # all are read now
        assert held > 0
        peak = Peak(given.device)
        rows = followed(masker, given.pictures, given.things, (int(width), int(height)), peak)
    print(
        json.dumps(
            {
                "benchmark": "sam2",
                "asked": vars(given),
                "weights_mib": round(needs.weights / MIB),
                "estimated_beside_weights_mib": round((needs.cache + needs.activations) / MIB),
                "beside_weights": rows,
                "torch": torch.__version__,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
