"""Masks of the Crab family: which task needs which capability, and masks drawn from what the LLM wrote.

A mask token's embedding is the hidden state, after the last norm, that predicts it. `Generated.extras` carries what
was drawn as `mask_logits` (K, H, W) float32: one map for a mask (above 0 is inside), one a class for a semantic mask.
Letters: B rows, W width of the LLM, P patches, D width of CLIP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from crab_core.errors import ModelError, UsageError
from crab_core.families._base import MASK_LOGITS
from crab_core.nn.mask_decoder import LEVELS

if TYPE_CHECKING:
    from crab_core.families._base import Encoded
    from crab_core.nn.crab import CrabModel

TASK_CAPABILITY: Mapping[str, str] = {"s4": "avs", "ms3": "avs", "ref-avs": "avs", "avss": "avss"}


def capability_for(task: str, model: CrabModel) -> str:
    """The capability that a task needs, empty for text; raises ModelError if the model lacks it."""
    name = TASK_CAPABILITY.get(task, "")
    if name and name not in model.capabilities:
        raise ModelError(
            f"this model cannot do the task '{task}': it was made without its '{name}' weights",
            hint=f"Import it again with --{name} FILE.",
        )
    return name


def shared_capability(encoded: Sequence[Encoded]) -> str:
    """The capability of a batch; raises UsageError if its clips were encoded for different ones."""
    names = {one.capability for one in encoded}
    if len(names) > 1:
        raise UsageError(
            f"a batch cannot mix capabilities {sorted(names)}", hint="Ask for masks and for text in batches apart."
        )
    return names.pop() if names else ""


def tokens_of(model: CrabModel) -> int:
    """How many mask tokens tell a mask."""
    assert model.config.mask is not None
    return LEVELS * model.config.mask.decoder.tokens


def drawn(
    model: CrabModel, one: Encoded, written: Sequence[int], states: Sequence[torch.Tensor], mask_ids: frozenset[int]
) -> dict[str, torch.Tensor]:
    """`mask_logits` of written ids and the states (W,) that predicted them; nothing if no mask was told or shown."""
    said = [index for index, token in enumerate(written) if token in mask_ids][-tokens_of(model) :]
    if len(said) < tokens_of(model) or not one.layers:
        return {}
    return {
        MASK_LOGITS: model.capabilities[one.capability].draw(
            torch.stack([states[index] for index in said])[None], [layer[:1] for layer in one.layers]
        )[0]
    }
