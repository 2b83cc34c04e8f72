"""A network whose tensors lie in a model folder under stable names, whatever is wrapped around its layers."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from crab_core.errors import ModelError, WeightsMismatch


class StoredModule(nn.Module, ABC):
    """Gives and takes tensors by the names that stand in a model folder; strict about names and shapes."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors by the names that stand in a model folder: as if no adapter were wrapped around anything.

        `llm.model.layers.0.self_attn.q_proj.weight`, `...q_proj.ilora_A.weight`. A tied output layer is left out.
        """
        return {self.stored_name(key): tensor for key, tensor in self.state_dict().items() if key not in self.tied()}

    def load_tensors(self, tensors: Mapping[str, torch.Tensor], where: str) -> None:
        """Takes the tensors over (no copy) under the names of `tensors()`; floating ones should be of one dtype.

        The names of a module's own state dict do as well. Raises WeightsMismatch if some are lacking or unknown,
        ModelError if a shape differs.
        """
        tensors = {self.stored_name(key): tensor for key, tensor in tensors.items()}
        self.check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, where)
        self.take_tensors(tensors)

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
        """Raises WeightsMismatch if some of the network's tensors are lacking or unknown, ModelError for a shape."""
        expected = self.tensors()
        lacking, unknown = sorted(set(expected) - set(shapes)), sorted(set(shapes) - set(expected))
        if lacking or unknown:
            raise WeightsMismatch(where, lacking, unknown)
        for name, shape in shapes.items():
            if shape != tuple(expected[name].shape):
                raise ModelError(
                    f"'{name}' is {shape} in '{where}' but {tuple(expected[name].shape)} in its config",
                    hint="The header and the weights belong to different models: fetch both again.",
                )

    def take_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes over some tensors under the names of `tensors()`, unchecked."""
        own = {self.stored_name(key): key for key in self.state_dict() if key not in self.tied()}
        self.load_state_dict({own[name]: tensor for name, tensor in tensors.items()}, strict=False, assign=True)
        self.tie()

    def stored_name(self, key: str) -> str:
        """The name in a model folder of a key of the state dict; a stored name stays as it is."""
        return plain_name(key)

    @abstractmethod
    def decoder(self) -> tuple[str, nn.Module]:
        """The language model, whose linears may be packed, and the start of its keys in the state dict."""

    def tied(self) -> tuple[str, ...]:
        """The keys of the state dict that are another tensor's."""
        return ()

    def tie(self) -> None:
        """Makes tied tensors one again after loading."""


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules built inside have parameters without storage, to be filled by `load_tensors`; buffers are real.

    Allocating and drawing random weights first would cost a 7B network minutes and twice its memory.
    """
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        register(module, name, parameter)
        if parameter is not None and not parameter.is_meta:
            empty = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
            module._parameters[name] = empty

    nn.Module.register_parameter = register_empty
    try:
        yield
    finally:
        nn.Module.register_parameter = register


def plain_name(key: str) -> str:
    """The name without what an adapter's wrapper puts into it."""
    return re.sub(r"\.(ilora_\w+)\.default\.", r".\1.", key.replace(".base_layer.", "."))
