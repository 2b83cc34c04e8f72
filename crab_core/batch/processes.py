"""Workers in processes of their own on this machine: one a GPU, or several that share the cores."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from crab_core.batch.schedule import Report
from crab_core.batch.worker import Chunk, Worker, WorkerSpec
from crab_core.errors import CrabError, InputError, ModelError, ResourceError, UsageError
from crab_core.progress import Listener, Note, Progress

_NEXT_S = 0.02  # how long a worker waits for a chunk to decode before it computes what it has
_LEAVE_S = 5.0


class ProcessCrew:
    """Worker processes, spawned, each with a pipe; they end when their pipe does, also if this process is killed."""

    def __init__(self, spec: WorkerSpec, workers: int, listen: Listener) -> None:
        self.workers = workers
        self.batch = 1
        self._spec = spec if spec.threads else replace(spec, threads=max(1, _cores() // workers))
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        try:
            for number in range(workers):
                process, pipe = self._spawn(number)
                self._processes.append(process)
                self._pipes.append(pipe)
            for number in range(workers):
                why = self._greeted(number)
                listen(Progress("load", number + 1, workers, "workers"))
                listen(Note(f"worker {number + 1}: {why}"))
        except BaseException:
            self.close()
            raise

    def give(self, worker: int, chunk: Chunk) -> None:
        """Send a chunk; a broken pipe shows in `wait`."""
        with contextlib.suppress(OSError):
            self._pipes[worker].send(list(chunk))

    def wait(self, timeout_s: float | None) -> Sequence[Report]:
        """The reports that are there, at least one unless the time is over."""
        ready = wait(self._pipes, timeout_s)
        reports = []
        for number, pipe in enumerate(self._pipes):
            if pipe in ready:
                try:
                    reports.append(Report(number, pipe.recv()))
                except (EOFError, OSError):
                    reports.append(Report(number, None))
        return reports

    def replace(self, worker: int) -> None:
        """A new process in the place of a dead one; raises ResourceError if it dies while loading."""
        self._pipes[worker].close()
        self._processes[worker].join(_LEAVE_S)
        self._processes[worker], self._pipes[worker] = self._spawn(worker)
        self._greeted(worker)

    def close(self) -> None:
        """Close the pipes, and end what does not leave by itself."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(_LEAVE_S)
            if process.is_alive():
                process.kill()

    def _spawn(self, number: int) -> tuple[SpawnProcess, Connection]:
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._spec, number), name=f"crab-worker-{number}")
        process.daemon = True
        process.start()
        theirs.close()
        return process, ours

    def _greeted(self, number: int) -> str:
        """Wait until a worker has loaded its model; raises what loading raised."""
        try:
            said = self._pipes[number].recv()
        except (EOFError, OSError) as err:
            raise ResourceError(
                "a worker process died while loading the model",
                hint="Memory may have run out: use fewer --workers or a smaller --model.",
            ) from err
        if isinstance(said, BaseException):
            raise said
        self.batch, why = said
        return str(why)


def serve(pipe: Connection, spec: WorkerSpec, number: int) -> None:
    """The life of a worker process: load, greet, then outcomes for chunks until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c is the parent's business
    with contextlib.suppress(EOFError, OSError):
        try:
            worker = Worker(replace(spec, device=_device(spec.device, number)))
        except Exception as err:
            pipe.send(portable(err))
            return
        pipe.send((worker.batch, worker.model.why))
        for outcomes in worker.work(_received(pipe)):
            pipe.send(outcomes)


def _received(pipe: Connection) -> Iterator[Chunk]:
    """Chunks as they come; an empty one where the next is late."""
    while True:
        if not pipe.poll(_NEXT_S):
            yield []
        try:
            yield pipe.recv()
        except EOFError:
            return


def portable(err: Exception) -> Exception:
    """The error as one that can be sent through a pipe, with its exit code and hint."""
    if isinstance(err, CrabError):
        kinds = (UsageError, InputError, ModelError, ResourceError)
        kind = next((kind for kind in kinds if isinstance(err, kind)), CrabError)
        return kind(err.message, hint=err.hint)
    return ResourceError(f"a worker could not start: {type(err).__name__}: {err}")


def _device(device: str, number: int) -> str:
    """The GPU of a worker where the machine has several, else what was asked for."""
    if device not in ("auto", "cuda"):
        return device
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return f"cuda:{number % gpus}" if gpus > 1 else device


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
