"""Looking into a network of the Crab family: what its routers say, where its queries look, what its answer hangs on.

The way from a query back to patches is ours. Letters: N frames, S seconds, Q queries, P patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from crab_core.families._base import Encoded
from crab_core.families.decoder_heads import METHODS, Asked, DecoderHeads
from crab_core.nn.qformer import watch_cross_attention
from crab_core.nn.splice import Row, Splicer
from crab_core.types import Clip, Medium, Prompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families.crab_network import CrabNetwork

__all__ = ["METHODS", "CrabHeads"]
BANDS: Mapping[str, int] = {"beats": 8, "conv": 1}  # tokens that an audio encoder gives for one moment, low bands first


@dataclass(frozen=True)
class CrabHeads(DecoderHeads):
    """Implements `families._base.HeadsView`."""

    network: CrabNetwork

    @property
    def decoder(self) -> nn.Module:
        """The LLM without its output layer."""
        return self.network.model.llm.model

    def asked(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> Asked:
        """The prompt and what was written."""
        chat, embed = self.network.chat, self.network.model.llm.get_input_embeddings()
        ids = chat.prompt_ids(prompt)
        splicer = Splicer(chat.placeholders, chat.pad_id, chat.mask_ids)
        with torch.no_grad():
            spliced = splicer([Row(ids, len(ids), encoded.features)], embed).embeds
            written = embed(torch.tensor(list(token_ids), dtype=torch.long, device=spliced.device))
            return Asked(torch.cat([spliced, written[None]], dim=1), spliced.shape[1])

    def logits(self, asked: Asked, embeds: torch.Tensor, kept: int) -> torch.Tensor:
        """Those of the last `kept` positions."""
        return self.network.model.llm(inputs_embeds=embeds, logits_to_keep=kept, use_cache=False).logits

    def using(self, encoded: Encoded) -> AbstractContextManager[None]:
        """Within the block the LLM has the tables of what was encoded."""
        return self.network.model.using(encoded.capability)

    def gaze(self, clip: Clip, task: str) -> Mapping[Medium, npt.NDArray[np.float32]]:
        """Cross-attention of the Q-Formers, mean over their attention heads and layers: (T, Q, rows, columns)."""
        model = self.network.model
        with ExitStack() as stack:
            video = stack.enter_context(watch_cross_attention(model.vl_projector))
            audio = stack.enter_context(watch_cross_attention(model.al_projector))
            self.network.encode(clip, task)
        found: dict[Medium, npt.NDArray[np.float32]] = {}
        if video:
            maps = _mean(video)  # (N, Q, P)
            side = round(maps.shape[-1] ** 0.5)
            found["video"] = maps.reshape(*maps.shape[:2], side, side)
        if audio:
            maps = _mean(audio)  # (S, Q, P)
            bands = BANDS[model.config.audio.kind]
            found["audio"] = maps.reshape(*maps.shape[:2], -1, bands).swapaxes(-1, -2)
        return found


def _mean(layers: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
    """(N, heads, Q, P) a layer as (N, Q, P)."""
    mean: npt.NDArray[np.float32] = torch.stack(list(layers)).float().mean((0, 2)).cpu().numpy()
    return mean
