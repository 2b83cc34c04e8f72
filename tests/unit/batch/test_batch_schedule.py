"""Dealing to workers that die, with a crew that lives in the test."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest

from crab_core.batch.schedule import CHUNKS_EACH, Report, ScheduledEngine
from crab_core.batch.worker import Chunk
from crab_core.types import Failure, Request


class Crew:
    """Answers the oldest chunk of some worker at each wait; a request whose id begins with `die` kills."""

    def __init__(self, workers: int, batch: int = 3) -> None:
        self.workers, self.batch = workers, batch
        self.has: list[deque[Chunk]] = [deque() for _ in range(workers)]
        self.replaced: list[int] = []
        self.turn = 0
        self.most = 0

    def give(self, worker: int, chunk: Chunk) -> None:
        self.has[worker].append(chunk)
        self.most = max(self.most, len(self.has[worker]))

    def wait(self, timeout_s: float | None) -> Sequence[Report]:
        while True:
            self.turn = (self.turn + 1) % self.workers
            if self.has[self.turn]:
                break
        has = self.has[self.turn]
        # decoding ahead can kill as well as computing
        if any((one.id or "").startswith("die") for chunk in list(has)[:2] for one in chunk):
            has.clear()
            return [Report(self.turn, None)]
        return [Report(self.turn, [Failure(one, "done", one.id or "", "") for one in has.popleft()])]

    def replace(self, worker: int) -> None:
        self.replaced.append(worker)

    def close(self) -> None:
        self.workers = 0


def chunks_of(names: list[str], size: int = 3) -> list[Chunk]:
    requests = [Request(Path(name), id=name) for name in names]
    return [requests[i : i + size] for i in range(0, len(requests), size)]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("dying", [[], [0], [4], [3, 4, 5], [0, 9, 19]], ids=str)
def test_every_request_has_one_outcome_and_only_killers_fail(workers: int, dying: list[int]) -> None:
    names = [("die" if number in dying else "ok") + str(number) for number in range(20)]
    crew = Crew(workers)
    engine = ScheduledEngine(crew)
    source = [*chunks_of(names)[:3], [], *chunks_of(names)[3:], []]
    outcomes = [outcome for some in engine.work(iter(source)) for outcome in some]
    assert sorted(outcome.request.id for outcome in outcomes) == sorted(names)
    killers = {outcome.request.id for outcome in outcomes if outcome.error_type == "WorkerDied"}
    assert killers == {name for name in names if name.startswith("die")}
    assert crew.most <= CHUNKS_EACH and (len(crew.replaced) >= 2 * len(dying))
    engine.close()
    assert crew.workers == 0
