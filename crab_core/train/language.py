"""Language training on cached encoder features: projectors, LLM and I-LoRA learn to read the rows and to write.

Source: Crab (arXiv 2503.13068, section 4.1), joint fine-tuning. The loss is the mean cross-entropy over target tokens.
Letters: B clips, T seconds, P patches, n sound tokens a second, L positions, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.crab import CrabModel
from crab_core.train.packing import IGNORED, Packed


class LanguageStage(nn.Module):
    """Learns packed texts behind the features of their clips."""

    def __init__(self, model: CrabModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, seen: torch.Tensor, heard: torch.Tensor, present: torch.Tensor, **texts: torch.Tensor
    ) -> Mapping[str, torch.Tensor]:
        """The loss for seen (B, T, P, D), heard (B, T, n, D), present (B, T) bool and the tensors of `Packed`."""
        packed = Packed(**texts)
        embeds = self.embed(seen, heard, present, packed)
        hidden = self.model.llm.model(
            inputs_embeds=embeds, attention_mask=packed.attention, position_ids=packed.positions, use_cache=False
        ).last_hidden_state  # (B, L, W)
        wanted = packed.labels[:, 1:]  # the token that follows each position
        kept = wanted != IGNORED
        logits = self.model.llm.lm_head(hidden[:, :-1][kept])
        loss = F.cross_entropy(logits, wanted[kept])
        return {"loss": loss, "token_accuracy": (logits.argmax(-1) == wanted[kept]).float().mean().detach()}

    def embed(self, seen: torch.Tensor, heard: torch.Tensor, present: torch.Tensor, packed: Packed) -> torch.Tensor:
        """Text embeddings with the projected rows in place of VIDEO and AUDIO, (B, L, W)."""
        seconds = torch.arange(present.shape[1], device=present.device).expand_as(present)[
            present
        ]  # (M,) of all clips in order
        video = self.model.vl_projector(self.model.tag_video(seen[present], seconds))  # (M, Q, W)
        audio = self.model.al_projector(self.model.tag_audio(heard[present], seconds))
        embeds = self.model.llm.get_input_embeddings()(packed.ids)
        embeds = embeds.masked_scatter(packed.video[..., None], video.to(embeds.dtype))
        return embeds.masked_scatter(packed.audio[..., None], audio.to(embeds.dtype))
