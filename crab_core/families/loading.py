"""Weights of a model folder into a network that has none yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from crab_core.families._base import Precision
from crab_core.families.crab_quantized import load_quantized
from crab_core.families.ilora_sizes import check_heads
from crab_core.nn.stored import StoredModule
from crab_core.weights.folder import Header, read_tensors

if TYPE_CHECKING:
    from crab_core.nn.crab_config import ILoraConfig


class Adapted(Protocol):
    """A config that says what the adapter is."""

    @property
    def ilora(self) -> ILoraConfig | None:
        """What the adapter is; None if there is none."""


def fill(model: StoredModule, config: Adapted, folder: Path, header: Header, precision: Precision) -> None:
    """Loads the folder's tensors strictly, packed if that is asked for or how they are stored, for evaluation.

    Raises ModelError if a file is damaged or the header's numbers differ from the tensors', WeightsMismatch if tensors
    are lacking or unknown.
    """
    if precision.quantize != "none" or header.quantized != "none":
        load_quantized(model, folder, header, precision, lambda found: check_heads(config.ilora, found, folder))
    else:
        tensors = read_tensors(folder, header, getattr(torch, precision.dtype))
        check_heads(config.ilora, tensors, folder)
        model.load_tensors(tensors, str(folder))
    model.to(precision.device).eval().requires_grad_(False)
