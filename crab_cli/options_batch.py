"""The options of commands that take many clips, declared once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from crab_core.registry import ENGINES


def complete_engine(incomplete: str) -> Iterator[tuple[str, str]]:
    """Engine names with what they are."""
    return ((name, entry.summary) for name, entry in ENGINES.items() if name.startswith(incomplete))


Glob = Annotated[
    str | None, typer.Option("--glob", metavar="PATTERN", help="Which files of a folder; quote it: '*.mkv'.")
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Many clips: stop at the first that fails.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Many clips: try those again that failed before.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what --out holds; many clips: start anew.")]
FullHash = Annotated[
    bool, typer.Option("--full-hash", help="Many clips: tell them apart by every byte, not by 1 MiB of each.")
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, max=256, help="Many clips: processes, or actors of a cluster.")
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", min=1, max=256, help="Clips answered together.", show_default="by precision"),
]
Decoders = Annotated[int, typer.Option("--decoders", metavar="N", min=1, max=64, help="Threads that decode ahead.")]
Shard = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Many clips: share I of N, or auto for Slurm's and torchrun's own."),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine", metavar="NAME", help=f"Who schedules: {', '.join(ENGINES)}.", autocompletion=complete_engine
    ),
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="With ray: the cluster's head, or auto.")
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option("--gpus-per-worker", metavar="X", min=0.0, max=16.0, help="With ray: how much of a GPU each gets."),
]
