"""What an engine is: something that takes chunks of requests and gives their outcomes, on whatever machines it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from crab_core.batch.worker import Chunk, Outcome, WorkerSpec
from crab_core.errors import UsageError
from crab_core.progress import Listener
from crab_core.registry import ENGINES, lookup


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How many workers work at once and, for a cluster, where it is and how much of a GPU each gets."""

    workers: int = 1
    address: str | None = None
    gpus_per_worker: float | None = None


class Engine(Protocol):
    """Schedules workers; `batch` is how many requests make a good chunk."""

    batch: int

    def work(self, chunks: Iterator[Chunk]) -> Iterator[list[Outcome]]:
        """Outcomes as they come, one for every request of every chunk; an empty chunk asks to wait for no more."""

    def close(self) -> None:
        """End the workers."""


def start_engine(name: str, spec: WorkerSpec, options: EngineOptions, listen: Listener) -> Engine:
    """The engine of that name with its workers ready.

    Raises UsageError for an unknown name, and whatever loading the model raises.
    """
    engine: Engine = lookup(ENGINES, name, kind="engine").load()(spec, options, listen)
    return engine


def refuse_cluster_options(options: EngineOptions) -> None:
    """Raise UsageError for options that only a cluster has."""
    if options.address is not None:
        raise UsageError(f"--address '{options.address}' needs a cluster", hint="Add: --engine ray")
    if options.gpus_per_worker is not None:
        raise UsageError(
            f"--gpus-per-worker '{options.gpus_per_worker:g}' needs a cluster", hint="Add: --engine ray, or --device."
        )
