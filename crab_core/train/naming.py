"""Which direction the projectors' rows have for each class: where the LLM's name of the class should begin.

Letters: n clips, T seconds, Q queries, W width of the LLM, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from crab_core.nn.crab import CrabModel
from crab_core.train.features import Features
from crab_core.train.lookups import names_as_tokens
from crab_core.train.targets import THINGS, DenseTargets
from crab_core.world.classes import SOUNDING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CLIPS = 600


@torch.no_grad()
def class_directions(
    model: CrabModel, features: Features, targets: DenseTargets, tokenizer: PreTrainedTokenizerFast
) -> Mapping[int, torch.Tensor]:
    """Token id -> direction (W,): how rows with the class differ from other rows, in sight and in hearing alike.

    Names that are no single token, with a blank before them or without, are left out; so are classes that the first
    clips do not hold.
    """
    model.eval()
    count = min(CLIPS, len(features.seen))
    seconds = torch.arange(features.seen.shape[1]).repeat(count)
    seen = model.vl_projector(model.tag_video(features.seen[:count].float().flatten(0, 1), seconds))  # (n*T, Q, W)
    heard = model.al_projector(model.tag_audio(features.heard[:count].float().flatten(0, 1), seconds)).mean(1)
    cells = torch.from_numpy(targets.cells[:count]).flatten(0, 1)  # (n*T, Q)
    audible = torch.from_numpy(targets.heard[:count]).flatten(0, 1)  # (n*T, C)
    found: dict[int, torch.Tensor] = {}
    tokens = names_as_tokens(tokenizer)
    for number in range(len(THINGS)):
        sight = _direction(seen.flatten(0, 1), (cells == number + 1).flatten())
        hearing = _direction(heard, audible[:, number]) if number < len(SOUNDING) else None
        both = [one for one in (sight, hearing) if one is not None]
        if both:
            direction = torch.stack(both).sum(0)
            found |= {token: direction for token, named in tokens.items() if named == number}
    return found


def _direction(rows: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor | None:
    """(N, W), (N,) bool -> the unit vector from the other rows' mean to the chosen ones'; None without chosen rows."""
    if not chosen.any() or chosen.all():
        return None
    difference = rows[chosen].mean(0) - rows[~chosen].mean(0)
    return difference / difference.norm()
