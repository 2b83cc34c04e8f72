"""Deals chunks to several workers that may die: what a dead one had is given to others, and it is replaced.

A request that alone took down two workers is a failure of its own: it must not bring down the rest.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from crab_core.batch.worker import Chunk, Outcome
from crab_core.types import Failure, Request

CHUNKS_EACH = 3  # with one worker at a time: one computed, one decoded, one on its way
LIVES = 2  # workers that one request may take down before it is given up
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Report:
    """What is heard from a worker: the outcomes of its oldest chunk, or None if it died."""

    worker: int
    outcomes: list[Outcome] | None


class Crew(Protocol):
    """Workers by number, each of which takes several chunks and reports them in order."""

    workers: int
    batch: int

    def give(self, worker: int, chunk: Chunk) -> None:
        """Send a chunk to a worker; one that died meanwhile is reported by `wait`."""

    def wait(self, timeout_s: float | None) -> Sequence[Report]:
        """What was heard, waiting for at least one report or until the time is over."""

    def replace(self, worker: int) -> None:
        """Start a worker in the place of a dead one; raises ResourceError if that does not work."""

    def close(self) -> None:
        """End all workers."""


class ScheduledEngine:
    """An engine over a crew.

    What a dead worker had is given out again one request at a time, each to a worker that has nothing else, so that
    the next death tells whose fault it is.
    """

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.batch = crew.batch
        self._given: list[deque[Chunk]] = [deque() for _ in range(crew.workers)]
        self._again: deque[Chunk] = deque()
        self._alone: set[int] = set()  # workers that have one request under suspicion
        self._deaths: Counter[str] = Counter()

    def work(self, chunks: Iterator[Chunk]) -> Iterator[list[Outcome]]:
        """Outcomes as they come, whoever they come from."""
        is_over = False
        while not is_over or self._again or any(self._given):
            is_waiting = False  # the source has nothing now, and may have something later
            while not is_waiting and (worker := self._free_worker()) is not None:
                if self._again:
                    self._alone.add(worker)
                    self._give(worker, self._again.popleft())
                    continue
                chunk = None if is_over else next(chunks, None)
                if chunk is None:
                    is_over = True
                    break
                is_waiting = not chunk
                if chunk:
                    self._give(worker, chunk)
            if any(self._given):
                for report in self.crew.wait(POLL_S if is_waiting else None):
                    if outcomes := self._heard(report):
                        yield outcomes

    def close(self) -> None:
        """End the workers."""
        self.crew.close()

    def _free_worker(self) -> int | None:
        """The worker with the least to do, or None if all have enough."""

        def room(worker: int) -> int:
            return 1 if self._again or worker in self._alone else CHUNKS_EACH

        free = [worker for worker, given in enumerate(self._given) if len(given) < room(worker)]
        return min(free, key=lambda worker: len(self._given[worker]), default=None)

    def _give(self, worker: int, chunk: Chunk) -> None:
        self._given[worker].append(chunk)
        self.crew.give(worker, chunk)

    def _heard(self, report: Report) -> list[Outcome]:
        worker, given = report.worker, self._given[report.worker]
        is_alone = worker in self._alone
        self._alone.discard(worker)
        if report.outcomes is not None:
            given.popleft()
            return report.outcomes
        lost = [request for chunk in given for request in chunk]
        given.clear()
        given_up: list[Outcome] = []
        for request in lost:
            name = request.id or str(request.clip)
            self._deaths[name] += is_alone
            if self._deaths[name] >= LIVES:
                given_up.append(_died(request))
            else:
                self._again.append([request])
        self.crew.replace(worker)
        return given_up


def _died(request: Request) -> Failure:
    return Failure(request, "worker", "WorkerDied", f"{LIVES} workers died, each while working on '{request.clip}'")
