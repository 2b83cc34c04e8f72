"""I-LoRA beside a bare module, without a PeftModel around it: the way families build their networks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora._peft import inject_adapter_in_model
from crab_core.nn.ilora.config import TARGETS, ILoraConfig
from crab_core.nn.ilora.layer import ILoraLayer


def inject(
    module: nn.Module,
    *,
    heads: int,
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    targets: Sequence[str] = TARGETS,
    per_head_dropout: bool = False,
) -> None:
    """Put a fresh adapter called `default` beside every linear layer whose name ends in one of the targets, in place.

    All other parameters of `module` are frozen: give the decoder, not the whole network. The adapter is on the device
    of the layers and in their dtype (the compute dtype of quantised ones); `module.to(...)` moves it as ever. Under
    `with torch.device("meta")` nothing is allocated or drawn. State-dict keys of a layer `<layer>`:

        <layer>.base_layer.weight, <layer>.ilora_router.default.weight (heads, in),
        <layer>.ilora_A.default.weight (rank, in), <layer>.ilora_B.default.weight (out, heads * rank)

    Raises UsageError if a size cannot be, if no layer is meant or if there is an adapter already.
    """
    if any(isinstance(child, ILoraLayer) for child in module.modules()):
        raise UsageError("the module has an I-LoRA adapter already", hint="Wrap it with peft to add another by name.")
    wanted = tuple(targets)
    if not any(name.rpartition(".")[2] in wanted for name, _ in module.named_modules()):
        raise UsageError(f"no layer is called '{', '.join(wanted)}'", hint="Name layers of the module in targets.")
    config = ILoraConfig(
        rank=rank,
        heads=heads,
        alpha=alpha,
        dropout=dropout,
        per_head_dropout=per_head_dropout,
        target_modules=list(wanted),
    )
    inject_adapter_in_model(config, module)
