"""Whether an adapter's tensors are of the head count and rank that a header says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.errors import ModelError

if TYPE_CHECKING:
    import torch

    from crab_core.nn.crab_config import ILoraConfig


def check_heads(ilora: ILoraConfig | None, tensors: Mapping[str, torch.Tensor], folder: Path) -> None:
    """The tensors' head count and rank are the truth; raises ModelError for a header that says otherwise."""
    if ilora is None or not any(".ilora_" in name for name in tensors):
        return  # what is lacking or too much is told by name when the tensors are loaded
    from crab_core.nn.ilora import shape_of

    if shape_of(tensors) != (ilora.heads, ilora.rank):
        found = "{} heads of rank {}".format(*shape_of(tensors))
        raise ModelError(
            f"the weights in '{folder}' have {found}, their header says {ilora.heads} of rank {ilora.rank}",
            hint="The header and the weights belong to different models: fetch both again.",
        )
