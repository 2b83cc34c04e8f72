"""Tokens a second and peak memory of `crab train` on Crab-7B's shapes: QLoRA, and the published loop beside it.

    python benchmarks/qlora.py --device cuda --out qlora.json     # one GPU with 24 GB; writes and deletes 6 GB
    python benchmarks/qlora.py --device cuda --dense              # as published: float32, not packed; 40 GB of a GPU
    python benchmarks/qlora.py --tiny                             # a CPU, small shapes, to try the script

A step is one row of a clip's ten frames and ten seconds of sound with a text of events and reasons, made by the classes
that `crab train` uses; encodings are kept as with `--cache`. `ours` and `published_loop` are one model, packed in
4 bits with checkpointing of activations, whose layers are exchanged: they take turns, ratios are taken within a turn,
and the median over turns is told. `kept_activations` is ours without checkpointing. `published` is the loop on the
base in float32 with AdamW and checkpointing, as the published scripts have it, but for DeepSpeed. Tokens are all
positions that are read, `peak_gib` is what torch held at most of the device, weights included, while it stepped.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from head_by_head import HeadByHead
from random_crab import write_random
from record import add_out, stamp, tell

from crab_core.engine.device import choose
from crab_core.nn.ilora import ILoraLayer
from crab_core.progress import ignore
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.estimate import plans
from crab_core.train.file_run import DTYPES, FileTraining, FileWork
from crab_core.train.processes import Group
from crab_core.train.settings import FileData, Stage, TrainSettings
from crab_core.train.start import learn, open_start
from crab_core.train.trainer import StageLoop, Work

CLIPS = Path(__file__).parents[1] / "examples" / "clips"
EVENT = "The piano is seen from second 0 to second 7 and heard from second 2 to second 7, so it is both from 2 to 7. "
ROWS = [
    {"file": "00000.mp4", "tasks": ["ave"], "seconds": 10, "events": [], "targets": {"ave": EVENT * 3}},
    {"file": "00001.mp4", "tasks": ["ave"], "seconds": 10, "events": [], "targets": {"ave": EVENT * 3}},
]
ADAPTER = {"heads": 3, "rank": 8, "alpha": 16.0, "dropout": 0.05, "per_head_dropout": True}


class Loop:
    """One model that learns from the same rows again and again, as `crab train` would have it."""

    def __init__(self, settings: TrainSettings) -> None:
        self.settings, self.stage = settings, settings.stages[0]
        precision = choose(settings.device, DTYPES[settings.precision], settings.quantize).precision
        self.device = precision.device
        self._forget_peak()
        torch.manual_seed(0)
        start = open_start(Path(settings.model), precision)
        self.learning = learn(start, self.stage)
        self.model = start.model
        training = FileTraining(settings, Path(settings.model).parent)
        self.work = FileWork(settings, self.stage, start, training.lessons(self.stage), Group(), print)
        self.work.module.train()
        self.positions = sum(batch["piece"].packed.ids.numel() for batch in self.work.pieces(0))  # looks at the clips
        self.loop = self._loop()

    def keep_activations(self, keep: bool) -> None:
        """Keep the activations of every layer for the backward pass, or compute them again there."""
        llm = self.model.llm
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            llm.gradient_checkpointing_disable() if keep else llm.gradient_checkpointing_enable(
                {"use_reentrant": False}
            )

    @contextmanager
    def published(self) -> Iterator[None]:
        """The adapter's layers in the published order, which learn in place of ours; a loop steps with them."""
        ours = self.loop
        places = [
            (parent, name, layer)
            for parent in self.model.llm.modules()
            for name, layer in parent.named_children()
            if isinstance(layer, ILoraLayer)
        ]
        for parent, name, layer in places:
            setattr(parent, name, HeadByHead(layer, learns=True).train())
            layer.ilora_B.requires_grad_(False)
        self.loop = self._loop()
        try:
            yield
        finally:
            self.loop = ours
            for parent, name, layer in places:
                layer.ilora_B.requires_grad_(True)
                setattr(parent, name, layer)

    def measure(self, steps: int) -> dict[str, float]:
        """Seconds of a step, the mean loss since the last turn, and the peak of memory in the counted steps."""
        self.loop.step(0)  # makes the optimizer's state
        self._forget_peak()
        began = self._now()
        for step in range(1, steps + 1):
            self.loop.step(step)
        spent_s = self._now() - began
        self.loop.reports.step(self.loop.reports.every)  # notes the means down
        return {"step_s": spent_s / steps, "loss": self.loop.reports.curve[-1]["loss"], **self.peak()}

    def close(self) -> None:
        """Ends the threads that look at clips."""
        self.work.looker.close()

    def _loop(self) -> StageLoop:
        work = Work(self.work.module, self.work.pieces, self.work.ids, self.work.names)
        return StageLoop(work, self.stage, Checkpoints(Path()), _write_nothing, offset=0, seed=0, on_progress=ignore)

    def _now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def _forget_peak(self) -> None:
        gc.collect()
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> dict[str, float]:
        """The most memory of the device since it was last forgotten; nothing on a CPU."""
        if self.device == "cpu":
            return {}
        return {
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3),
            "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 3),
        }


def _write_nothing(*_: object) -> None:
    """No checkpoint is written."""


def told(turns: Sequence[Mapping[str, float]], positions: int) -> dict[str, float]:
    """The median turn, and the most memory of all."""
    step_s = statistics.median(one["step_s"] for one in turns)
    peaks = {name: max(one[name] for one in turns) for name in ("peak_gib", "reserved_gib") if name in turns[0]}
    return {
        "step_s": round(step_s, 4),
        "tokens_a_second": round(positions / step_s, 1),
        "loss": turns[-1]["loss"],
        **peaks,
    }


def packed_rows(settings: TrainSettings, steps: int, turns: int) -> dict[str, Any]:
    """Ours, the published loop and ours without checkpointing on one packed model, in turn."""
    loop = Loop(settings)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "published_loop": [], "kept_activations": []}
    loading = loop.peak()
    for _ in range(turns):
        loop.keep_activations(False)
        found["ours"].append(loop.measure(steps))
        with loop.published():
            found["published_loop"].append(loop.measure(steps))
        loop.keep_activations(True)
        found["kept_activations"].append(loop.measure(steps))
    loop.close()
    pairs = zip(found["published_loop"], found["ours"], strict=True)
    return {
        "positions": loop.positions,
        "learning": loop.learning,
        "estimated_gib": round(plans(settings)[0].memory / 2**30, 3),
        "loading": loading,
        "rows": {name: told(turns, loop.positions) for name, turns in found.items()},
        "published_over_ours": round(statistics.median(one["step_s"] / other["step_s"] for one, other in pairs), 3),
    }


def dense_rows(settings: TrainSettings, steps: int, turns: int) -> dict[str, Any]:
    """The published loop on an unpacked base."""
    loop = Loop(settings)
    loop.keep_activations(False)
    with loop.published():
        found = [loop.measure(steps) for _ in range(turns)]
    loop.close()
    return {
        "positions": loop.positions,
        "estimated_gib": round(plans(settings)[0].memory / 2**30, 3),
        "rows": {"published": told(found, loop.positions)},
    }


def write_labels(folder: Path) -> Path:
    """The rows as a file of labels."""
    labels = folder / "labels.jsonl"
    labels.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return labels


def settings_of(folder: Path, labels: Path, device: str) -> TrainSettings:
    """A run that tunes an adapter in 4 bits, a row a step."""
    on_gpu = device != "cpu"
    stage = Stage(
        name="tune",
        kind="language",
        steps=64,
        batch=1,
        samples=1,
        rate=1e-4,
        train=("ilora",),
        optimizer="paged-adamw8bit" if on_gpu else "adamw8bit",
        ilora=ADAPTER,
    )
    return TrainSettings(
        name="qlora",
        model=str(folder),
        data=FileData(files=(labels,), root=CLIPS, cache=labels.parent / "cache"),
        stages=(stage,),
        device=device,
        precision="bf16" if on_gpu else "fp32",
        quantize="4bit",
        checkpointing=True,
    )


def report_of(parking: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Writes random weights and labels, and measures."""
    folder = parking / "model"
    layers_of = given.layers or (2 if given.tiny else 32)
    write_random(folder, tiny=given.tiny, layers=layers_of, is_packed=not given.dense)
    settings = settings_of(folder, write_labels(parking), given.device)
    if given.dense:
        stage = replace(settings.stages[0], optimizer="adamw")
        settings = replace(settings, quantize="none", precision="fp32", stages=(stage,))
    measure = dense_rows if given.dense else packed_rows
    return {
        "benchmark": "qlora",
        "shapes": "tiny" if given.tiny else "Crab-7B",
        "device": torch.cuda.get_device_name() if given.device != "cpu" else "cpu",
        "precision": settings.precision,
        "optimizer": settings.stages[0].optimizer,
        **measure(settings, given.steps, given.turns),
        **stamp(),
    }


def main() -> None:
    """Measure, and print or write a JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dense", action="store_true", help="the published loop on a float32 base instead")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--turns", type=int, default=3)
    add_out(parser)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parking:
        report = report_of(Path(parking), given)
    tell(report, given.out)


if __name__ == "__main__":
    main()
