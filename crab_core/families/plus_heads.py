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

from crab_core.errors import ModelError
from crab_core.families._base import Encoded, Generated, Span
from crab_core.families.decoder_heads import Asked, DecoderHeads, pieces_of
from crab_core.nn.splice import Row, Splicer
from crab_core.types import Clip, Decoding, Medium, Prompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families.plus_network import PlusNetwork


@dataclass(frozen=True)
class PlusHeads(DecoderHeads):
    """Implements `families._base.HeadsView`. The towers' adapters are part of every look, and are not shown."""

    network: PlusNetwork
    heads: int

    @classmethod
    def of(cls, network: PlusNetwork) -> PlusHeads:
        """The heads of a network; raises ModelError if it has no I-LoRA."""
        config = network.model.config.ilora
        if config is None:
            raise ModelError(
                f"model '{network.name}' has no I-LoRA, so there are no heads to look at",
                hint="Choose a model with heads: crab models list",
            )
        return cls(network, config.heads)

    @property
    def decoder(self) -> nn.Module:
        """The text decoder."""
        return self.network.model.text

    def spans(self, encoded: Encoded, prompt: Prompt) -> tuple[Span, ...]:
        """What each position of the prompt holds."""
        chat = self.network.chat
        ids = chat.prompt_ids(prompt)
        found = Splicer(chat.placeholders, chat.pad_id).stretches(Row(ids, len(ids), encoded.features))
        return tuple(Span(one.kind, one.start, one.end, one.index) for one in found)

    def generated(self, encoded: Encoded, prompt: Prompt, decoding: Decoding) -> Generated:
        """What the network's `generate` gives."""
        return self.network.generate(encoded, prompt, decoding)

    def asked(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> Asked:
        """The prompt and what was written; written tokens stand one after another behind it."""
        model = self.network.model
        with torch.no_grad():
            spliced, stands = self.network.spliced([encoded], [self.network.chat.prompt_ids(prompt)])
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

    def decode(self, ids: list[int]) -> str:
        """The text of written ids."""
        return self.network.chat.decode(ids)

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

    def ids_of(self, text: str) -> list[int]:
        """The tokens of a text as an answer, its end included."""
        return self.network.chat.target_ids(text)

    def prompt_pieces(self, prompt: Prompt) -> list[str]:
        """The text of each token of the chat, special ones by their name, media left out."""
        chat = self.network.chat
        ids = [token for token in chat.prompt_ids(prompt) if token not in chat.placeholders]
        return pieces_of(ids, chat.spelled)


def _own_places(steps: int, rows: int, columns: int) -> npt.NDArray[np.float32]:
    places = np.eye(rows * columns, dtype=np.float32).reshape(1, rows * columns, rows, columns)
    return np.broadcast_to(places, (steps, *places.shape[1:]))
