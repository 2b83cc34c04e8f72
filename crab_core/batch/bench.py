"""How fast a folder is worked off on this machine, and where the time goes.

The same worker as a real run, without a journal: nothing is written, and a clip that was measured is measured again.
Stages are summed over the threads that ran them, so that together they may be longer than the run.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from crab_core.batch.engine import Engine
from crab_core.errors import InputError
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import Failure, Request, Result

SCHEMA = "crab.bench/1"
STAGES = ("check", "probe", "decode", "encode", "generate", "read")


@dataclass(frozen=True, slots=True)
class Stage:
    """The seconds of one stage: all clips together, one clip on average, and the share of all stages."""

    name: str
    total_s: float
    per_clip_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Speed:
    """What a measured run came to.

    `cores` is how many cores were busy on average, None with several worker processes, whose time is not known while
    they live; `peak_memory_mib` the largest resident size of one process.
    """

    clips: int
    failed: int
    media_s: float
    load_s: float
    seconds: float
    clips_per_s: float
    realtime: float
    cores: float | None
    peak_memory_mib: float
    batch: int
    workers: int
    stages: tuple[Stage, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema": SCHEMA, **asdict(self)}


def measure(
    requests: Sequence[Request],
    start: Callable[[], Engine],
    *,
    workers: int = 1,
    warm_up: int = 1,
    listen: Listener = ignore,
) -> Speed:
    """Work the requests off once and time it; the first `warm_up` are done once before, unmeasured.

    Raises InputError if no clip could be used, and whatever loading the model raises.
    """
    began = time.perf_counter()
    with closing(start()) as engine:
        load_s = time.perf_counter() - began
        batch = engine.batch
        for _ in engine.work(iter([[request] for request in requests[:warm_up]])):
            pass
        used, began, outcomes = _cpu_s(), time.perf_counter(), []
        for some in engine.work(requests[first : first + batch] for first in range(0, len(requests), batch)):
            outcomes += some
            listen(Progress("bench", len(outcomes), len(requests), "clips"))
        seconds = time.perf_counter() - began
        cpu_s = _cpu_s() - used
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    if not results:
        first = next(outcome for outcome in outcomes if isinstance(outcome, Failure))
        raise InputError(f"no clip could be used; the first one: {first.message}", hint="Choose another folder.")
    media_s = sum(result.duration_s for result in results)
    return Speed(
        clips=len(results),
        failed=len(outcomes) - len(results),
        media_s=media_s,
        load_s=load_s,
        seconds=seconds,
        clips_per_s=len(results) / seconds,
        realtime=media_s / seconds,
        cores=cpu_s / seconds if workers == 1 else None,
        peak_memory_mib=peak_memory_mib(),
        batch=batch,
        workers=workers,
        stages=_stages(results),
    )


def peak_memory_mib() -> float:
    """The largest resident size that this process, or one that it started and ended, ever had."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) / unit


def _stages(results: Sequence[Result]) -> tuple[Stage, ...]:
    names = dict.fromkeys([*STAGES, *(name for result in results for name in result.timings_s)])
    totals = {name: sum(result.timings_s.get(name, 0.0) for result in results) for name in names}
    everything = sum(totals.values()) or 1.0
    return tuple(Stage(name, spent, spent / len(results), spent / everything) for name, spent in totals.items())


def _cpu_s() -> float:
    """Processor seconds of this process, all its threads together."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
