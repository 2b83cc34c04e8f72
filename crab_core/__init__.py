"""Audio-visual scene understanding: load a model, look at a clip, ask.

    import crab_core
    model = crab_core.load("mini")
    print(model.look("band.mp4").ask("Which instrument sounds first?").answer.text)

Public names are loaded when first used, so importing this package imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crab_core.engine.heads import HeadOptions
    from crab_core.engine.heads_report import HeadReport
    from crab_core.engine.session import Model, load
    from crab_core.errors import CrabError
    from crab_core.types import Answer, Box, Clip, Decoding, Event, Failure, Mask, Request, Result

__version__ = "0.1.0"

_HOMES = {
    "load": "crab_core.engine.session",
    "Model": "crab_core.engine.session",
    "HeadOptions": "crab_core.engine.heads",
    "HeadReport": "crab_core.engine.heads_report",
    "CrabError": "crab_core.errors",
    **dict.fromkeys(
        ("Answer", "Box", "Clip", "Decoding", "Event", "Failure", "Mask", "Request", "Result"), "crab_core.types"
    ),
}

__all__ = [
    "Answer", "Box", "Clip", "CrabError", "Decoding", "Event", "Failure", "HeadOptions", "HeadReport", "Mask", "Model",
    "Request", "Result", "load",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'crab_core' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
