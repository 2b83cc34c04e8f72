"""How long each stage of a request took, and which stage it is in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from crab_core.stats import part

# the parts of an answer that stages belong to, as `crab_core.stats` names them; a network tells them apart further
PARTS = {"probe": "media", "decode": "media", "encode": "encode", "generate": "prefill", "masks": "mask"}


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
            with part(PARTS.get(stage, "other")):
                yield
        finally:
            self.spent_s[stage] = self.spent_s.get(stage, 0.0) + time.perf_counter() - began
