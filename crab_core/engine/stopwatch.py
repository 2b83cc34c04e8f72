"""How long each stage of a request took, and which stage it is in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Seconds by stage; `stage` is the one that runs or, after an exception, the one that failed.

    with watch("encode"):
        ...
    """

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = {}
        self.stage = "start"

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure a stage; a stage that comes twice is summed."""
        self.stage = stage
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent_s[stage] = self.spent_s.get(stage, 0.0) + time.perf_counter() - began
