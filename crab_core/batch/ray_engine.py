"""Workers as actors of a Ray cluster: the same worker, scheduled wherever there is room.

The journal stays with the run that was started: actors compute, it writes. The model folder and the clips must be
readable under the same paths on every machine. An actor that dies, or whose machine does, is replaced by a new one, and
what it had is given out again.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import Any

from crab_core.batch.engine import Engine, EngineOptions
from crab_core.batch.processes import portable
from crab_core.batch.schedule import Report, ScheduledEngine
from crab_core.batch.worker import Chunk, Outcome, Worker, WorkerSpec
from crab_core.errors import ResourceError
from crab_core.optional import need
from crab_core.progress import Listener, Note, Progress

_START_S = 600.0  # how long a cluster may take to find room for an actor and to load the model
_KNOCK_S = 10.0
_AT_ONCE = 2  # calls that an actor runs at once: one decodes while the other computes


def start(spec: WorkerSpec, options: EngineOptions, listen: Listener) -> Engine:
    """An engine whose actors have loaded the model.

    Raises MissingExtra without Ray, ResourceError if the cluster cannot be reached or has no room, and what loading
    raises.
    """
    ray = need("ray", extra="ray", why="--engine ray")
    return ScheduledEngine(RayCrew(ray, spec, options, listen))


class Actor:
    """A worker inside an actor. Two chunks may be in it at once; the network works on one at a time."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._spec = spec
        self._computing = Lock()

    def greet(self) -> tuple[int, str] | Exception:
        """How many clips make a chunk, and where the actor computes; or why it could not load the model."""
        try:
            self._worker = Worker(self._spec)
        except Exception as err:  # sent as a value: what an actor raises comes wrapped
            return portable(err)
        return self._worker.batch, self._worker.model.why

    def do(self, chunk: Chunk) -> list[Outcome]:
        """The outcomes of a chunk, decoded while another one may be computed."""
        return self._worker.do(chunk, self._computing)


class RayCrew:
    """Actors by number, each with the chunks that it has, oldest first."""

    def __init__(self, ray: Any, spec: WorkerSpec, options: EngineOptions, listen: Listener) -> None:
        self.workers = options.workers
        self.batch = 1
        self._ray = ray
        self._own = not ray.is_initialized()
        self._connect(options.address)
        gpus = options.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if spec.device != "cpu" and ray.cluster_resources().get("GPU", 0) else 0.0
        device = spec.device if gpus == 0 else "cuda"  # Ray shows an actor its own GPU only
        self._spec = replace(spec, device="cpu" if gpus == 0 and device == "auto" else device)
        self._remote = ray.remote(Actor).options(num_gpus=gpus, num_cpus=1, max_concurrency=_AT_ONCE)
        self._actors: list[Any] = []
        self._calls: list[deque[Any]] = [deque() for _ in range(self.workers)]
        try:
            self._actors = [self._remote.remote(self._spec) for _ in range(self.workers)]
            for number in range(self.workers):
                why = self._greeted(number)
                listen(Progress("load", number + 1, self.workers, "workers"))
                listen(Note(f"worker {number + 1}: {why}"))
        except BaseException:
            self.close()
            raise

    def give(self, worker: int, chunk: Chunk) -> None:
        """Call an actor; one that died is told by `wait`."""
        self._calls[worker].append(self._actors[worker].do.remote(list(chunk)))

    def wait(self, timeout_s: float | None) -> Sequence[Report]:
        """The reports that are there, at least one unless the time is over."""
        calls = [call for mine in self._calls for call in mine]
        ready = set(self._ray.wait(calls, num_returns=1, timeout=timeout_s)[0])
        reports = []
        for number, mine in enumerate(self._calls):
            if ready & set(mine):
                reports.append(self._oldest(number))
        return reports

    def replace(self, worker: int) -> None:
        """A new actor in the place of a dead one; raises ResourceError if the cluster has no room for it."""
        self._calls[worker].clear()
        with contextlib.suppress(Exception):
            self._ray.kill(self._actors[worker])
        self._actors[worker] = self._remote.remote(self._spec)
        self._greeted(worker)

    def close(self) -> None:
        """End the actors; a cluster that was started for this run ends too."""
        for actor in self._actors:
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
        if self._own:
            self._ray.shutdown()

    def _oldest(self, worker: int) -> Report:
        """The outcomes of the oldest call, waiting for it if a younger one was faster; None if the actor died."""
        try:
            return Report(worker, self._ray.get(self._calls[worker].popleft()))
        except self._ray.exceptions.RayError:
            return Report(worker, None)

    def _connect(self, address: str | None) -> None:
        if not self._own:
            return
        try:
            _knock(address)  # Ray itself tries for minutes
            self._ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        except (OSError, ValueError, RuntimeError) as err:
            raise ResourceError(
                f"no Ray cluster at '{address or 'this machine'}': {err}",
                hint="Start one with: ray start --head, or leave --address out for this machine alone.",
            ) from err

    def _greeted(self, worker: int) -> str:
        ray = self._ray
        try:
            said = ray.get(self._actors[worker].greet.remote(), timeout=_START_S)
        except ray.exceptions.GetTimeoutError as err:
            raise ResourceError(
                f"the cluster found no room for worker {worker + 1} in {_START_S:.0f} s",
                hint="Use fewer --workers or a smaller --gpus-per-worker.",
            ) from err
        except ray.exceptions.RayError as err:
            raise ResourceError(
                "an actor died while loading the model",
                hint="Memory may have run out: use fewer --workers or a smaller --model, or look into Ray's logs.",
            ) from err
        if isinstance(said, Exception):
            raise said
        self.batch, why = said
        return str(why)


def _knock(address: str | None) -> None:
    """Raise OSError if nobody listens at `host:port`; other forms of address are Ray's business."""
    found = re.fullmatch(r"(?:ray://)?([^/]+):(\d{1,5})", address or "")
    if found:
        socket.create_connection((found[1], int(found[2])), timeout=_KNOCK_S).close()
