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
    """Learns packed texts behind the features of their clips; an answer's tokens count `answer_weight` times."""

    def __init__(self, model: CrabModel, answer_weight: float = 1.0) -> None:
        super().__init__()
        self.model, self.answer_weight = model, answer_weight

    def forward(
        self,
        seen: torch.Tensor,
        heard: torch.Tensor,
        in_sight: torch.Tensor,
        in_earshot: torch.Tensor,
        **texts: torch.Tensor,
    ) -> Mapping[str, torch.Tensor]:
        """The loss for seen (B, T, P, D), heard (B, T, n, D), which of their seconds count (B, T), and `Packed`."""
        packed = Packed(**texts)
        embeds = self.model.llm.get_input_embeddings()(packed.ids)  # (B, L, W)
        video, audio = self.rows(seen, heard, in_sight, in_earshot)
        embeds = embeds.masked_scatter(packed.video[..., None], video.to(embeds.dtype))
        embeds = embeds.masked_scatter(packed.audio[..., None], audio.to(embeds.dtype))
        hidden = self.model.llm.model(
            inputs_embeds=embeds, attention_mask=packed.attention, position_ids=packed.positions, use_cache=False
        ).last_hidden_state  # (B, L, W)
        wanted = packed.labels[:, 1:]  # the token that follows each position
        kept = wanted != IGNORED
        logits = self.model.llm.lm_head(hidden[:, :-1][kept])
        of_answer = packed.answers[:, 1:][kept]
        weights = torch.where(of_answer, self.answer_weight, 1.0)
        loss = (F.cross_entropy(logits, wanted[kept], reduction="none") * weights).sum() / weights.sum()
        right = (logits.argmax(-1) == wanted[kept]).float().detach()
        return {"loss": loss, "token_accuracy": right.mean(), "answer_accuracy": right[of_answer].mean()}

    def rows(
        self, seen: torch.Tensor, heard: torch.Tensor, in_sight: torch.Tensor, in_earshot: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The query tokens (M, Q, W) of all seconds that count, clip after clip, of pictures and of sound."""
        video = self.model.vl_projector(self.model.tag_video(seen[in_sight], _numbers(in_sight)))
        return video, self.model.al_projector(self.model.tag_audio(heard[in_earshot], _numbers(in_earshot)))


def _numbers(present: torch.Tensor) -> torch.Tensor:
    """(B, T) -> (M,): which second each True is."""
    return torch.arange(present.shape[1], device=present.device).expand_as(present)[present]
