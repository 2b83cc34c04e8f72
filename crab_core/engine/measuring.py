"""What an answer costs, with the device's memory: `stats` of a result."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crab_core.stats import Stats, collecting

if TYPE_CHECKING:
    from crab_core.engine.session import Model

MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


@contextmanager
def measured(model: Model) -> Iterator[Stats]:
    """Within the block, what the model does is measured; a GPU is waited for at the end of each part."""
    import torch

    device = model.precision.device
    is_gpu = device.startswith("cuda")
    with collecting(torch.cuda.synchronize) if is_gpu else collecting() as stats:
        stats.seconds["load"] = model.load_s
        yield stats
    stats.peak_memory_bytes["cpu"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES
    if is_gpu:
        stats.peak_memory_bytes[device] = int(torch.cuda.max_memory_allocated(device))
