"""The engine of one machine: one worker in this process, or several in processes of their own."""

from __future__ import annotations

from collections.abc import Iterator

from crab_core.batch.engine import Engine, EngineOptions, refuse_cluster_options
from crab_core.batch.worker import Chunk, Outcome, Worker, WorkerSpec
from crab_core.progress import Listener


def start(spec: WorkerSpec, options: EngineOptions, listen: Listener) -> Engine:
    """An engine with the model loaded; raises what loading raises."""
    refuse_cluster_options(options)
    if options.workers > 1:
        from crab_core.batch.processes import ProcessCrew
        from crab_core.batch.schedule import ScheduledEngine

        return ScheduledEngine(ProcessCrew(spec, options.workers, listen))
    return InProcess(Worker(spec, listen))


class InProcess:
    """One worker in this process; threads decode, the caller's thread computes."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.batch = worker.batch

    def work(self, chunks: Iterator[Chunk]) -> Iterator[list[Outcome]]:
        """The outcomes of each chunk, in order."""
        return self.worker.work(chunks)

    def close(self) -> None:
        """Let the decoding threads go."""
        self.worker.close()
