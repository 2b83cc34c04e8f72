"""Interaction-aware LoRA as a peft method called `ilora`; importing this package registers it.

A process that reads such an adapter through peft imports this package first. Importing it loads peft, but not
bitsandbytes. For use without a PeftModel: `inject`, `adapter_state`, `load_adapter_state`.
"""

from __future__ import annotations

from crab_core.nn.ilora._peft import METHOD, register
from crab_core.nn.ilora.adapters import inject
from crab_core.nn.ilora.config import TARGETS, ILoraConfig
from crab_core.nn.ilora.heads import (
    EvenShares,
    ExchangedShares,
    HeadMask,
    RouteChange,
    all_heads,
    drop_heads,
    heads,
    keep_head,
    layers,
    rerouted,
)
from crab_core.nn.ilora.layer import ILoraLayer, Router
from crab_core.nn.ilora.model import ILoraModel
from crab_core.nn.ilora.routing import capture, named_layers, routers
from crab_core.nn.ilora.similarity import Alikeness, alikeness, chance, pairs_of
from crab_core.nn.ilora.states import adapter_state, from_published, load_adapter_state, shape_of, to_published
from crab_core.nn.ilora.tally import Tally, tallied

register(ILoraConfig, ILoraModel)

__all__ = [
    "METHOD",
    "TARGETS",
    "EvenShares",
    "ExchangedShares",
    "HeadMask",
    "ILoraConfig",
    "ILoraLayer",
    "ILoraModel",
    "RouteChange",
    "Router",
    "Alikeness",
    "Tally",
    "adapter_state",
    "alikeness",
    "all_heads",
    "capture",
    "chance",
    "drop_heads",
    "from_published",
    "heads",
    "inject",
    "keep_head",
    "layers",
    "load_adapter_state",
    "named_layers",
    "pairs_of",
    "rerouted",
    "routers",
    "shape_of",
    "tallied",
    "to_published",
]
