"""Looking into a network of the Crab+ family: what the routers of its text decoder say, what its answer hangs on.

A video's token is two by two patches of two frames and a sound's token 40 ms: each looks at its own place, with no
Q-Former between. Letters: S steps or seconds, Q tokens of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from crab_core.families._base import Encoded
from crab_core.families.decoder_heads import Asked, DecoderHeads
from crab_core.types import Clip, Medium, Prompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families.plus_network import PlusNetwork


@dataclass(frozen=True)
class PlusHeads(DecoderHeads):
    """Implements `families._base.HeadsView`. The towers' adapters are part of every look, and are not shown."""

    network: PlusNetwork

    @property
    def decoder(self) -> nn.Module:
        """The text decoder."""
        return self.network.model.text

    def asked(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> Asked:
        """The prompt and what was written; written tokens stand one after another behind it."""
        model = self.network.model
        with torch.no_grad():
            laid = self.network.prompts([encoded], [self.network.chat.prompt_ids(prompt)])
            spliced, stands = laid.spliced, laid.stands
            written = model.embed(torch.tensor(list(token_ids), dtype=torch.long, device=model.device))
            after = stands.max() + 1 + torch.arange(len(token_ids), device=model.device)
            return Asked(
                torch.cat([spliced.embeds, written[None]], dim=1),
                spliced.embeds.shape[1],
                torch.cat([stands, after.expand(3, 1, -1)], dim=2),
            )

    def logits(self, asked: Asked, embeds: torch.Tensor, kept: int) -> torch.Tensor:
        """Those of the last `kept` positions."""
        assert asked.stands is not None
        model = self.network.model
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        return model.logits(model.read(embeds, mask, asked.stands)[:, -kept:])

    def gaze(self, clip: Clip, task: str) -> Mapping[Medium, npt.NDArray[np.float32]]:
        """Each token at its own place: (S, Q, rows, columns); a picture alone is a video of one step."""
        encoded = self.network.encode(clip, task)
        found: dict[Medium, npt.NDArray[np.float32]] = {}
        for kind in ("video", "image"):
            if kind in encoded.features:
                grid = encoded.grids[kind]
                found["video"] = _own_places(len(encoded.features[kind]), grid.rows, grid.columns)
                break
        if "audio" in encoded.features:
            seconds, tokens = encoded.features["audio"].shape[:2]
            found["audio"] = _own_places(seconds, 1, tokens)
        return found


def _own_places(steps: int, rows: int, columns: int) -> npt.NDArray[np.float32]:
    places = np.eye(rows * columns, dtype=np.float32).reshape(1, rows * columns, rows, columns)
    return np.broadcast_to(places, (steps, *places.shape[1:]))
