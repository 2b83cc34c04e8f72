"""Who routes where: the routers of a model by name, and a block that collects what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora.layer import ILoraLayer, Router

_WRAPPERS = ("_orig_mod.", "base_model.model.")


def routers(model: nn.Module, adapter: str | None = None) -> dict[str, Router]:
    """The routers by the name of their linear layer, such as `model.layers.0.self_attn.q_proj`.

    Names are those of the bare model: what peft and `torch.compile` put before them is taken off. `adapter` None
    means each layer's active one (the first, if several are). Raises UsageError if there is none.
    """
    return {name: layer.ilora_router[chosen] for name, (layer, chosen) in named_layers(model, adapter).items()}


def named_layers(model: nn.Module, adapter: str | None = None) -> dict[str, tuple[ILoraLayer, str]]:
    """The layers that have the adapter, with its name, under the names that `routers` gives; raises what it raises."""
    found = {}
    for name, module in model.named_modules():
        if not isinstance(module, ILoraLayer):
            continue
        chosen = adapter if adapter is not None else next(iter(module.active_adapters), "")
        if chosen in module.ilora_router:
            found[bare_name(name)] = module, chosen
    if not found:
        lacking = "no active I-LoRA adapter" if adapter is None else f"no I-LoRA adapter called '{adapter}'"
        raise UsageError(f"the model has {lacking}", hint="Add one first: inject(model, heads=3, rank=8, alpha=16).")
    return found


@contextmanager
def capture(model: nn.Module, adapter: str | None = None) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Within the block, collect the routing weights: name -> one (..., H) tensor a forward call, detached.

    The dict fills while the model runs and stays when the block ends. What is collected is the router's own weights,
    before any head mask. Raises UsageError if there is no router.
    """
    collected: dict[str, list[torch.Tensor]] = {}
    hooks = []
    for name, router in routers(model, adapter).items():
        collected[name] = []
        hooks.append(router.register_forward_hook(_collector(collected[name])))
    try:
        yield collected
    finally:
        for hook in hooks:
            hook.remove()


def bare_name(name: str) -> str:
    """A module or tensor name without what wrappers put before it."""
    stripped = name
    for wrapper in _WRAPPERS:
        stripped = stripped.removeprefix(wrapper)
    return stripped if stripped == name else bare_name(stripped)


def _collector(into: list[torch.Tensor]) -> Callable[[nn.Module, tuple[torch.Tensor, ...], torch.Tensor], None]:
    def collect(_: nn.Module, __: tuple[torch.Tensor, ...], route: torch.Tensor) -> None:
        into.append(route.detach())

    return collect
