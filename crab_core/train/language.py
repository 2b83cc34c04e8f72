"""Language training on cached encoder features: projectors, LLM and I-LoRA learn to read the rows and to write.

Source: Crab (arXiv 2503.13068, section 4.1), joint fine-tuning. The loss is the mean cross-entropy over target tokens.
Letters: B clips, T seconds, P patches, n sound tokens a second, L positions, W width of the LLM.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.crab import CrabModel
from crab_core.train.dense import settle
from crab_core.train.lookups import Lookups
from crab_core.train.masks import mask_losses
from crab_core.train.packing import IGNORED, PADDING, Packed
from crab_core.train.shares import Batch, Totals, mean
from crab_core.train.sketches import SketchReader


class LanguageStage(nn.Module):
    """Learns packed texts behind the features of their clips; an answer's tokens count `answer_weight` times.

    `projected` features are the rows of frozen projectors already, with P or n rows a second of the LLM's width.
    With a `lookup_weight` the states behind `lookup_layer` layers also learn the facts of what is named (`Lookups`),
    and with a `change_weight` those layers are held to change what they get little; with a `recall_weight` the states
    behind `recall_layer` layers learn the same facts where a value of the last name is told next. With a
    `sketch_weight` the states of mask tokens also learn to tell a sketch of the mask (`SketchReader`), which a decoder
    need not learn to draw.
    """

    def __init__(
        self,
        model: CrabModel,
        answer_weight: float = 1.0,
        mask_weight: float = 1.0,
        *,
        projected: bool = False,
        lookup_weight: float = 0.0,
        lookup_layer: int = 2,
        change_weight: float = 0.0,
        recall_weight: float = 0.0,
        recall_layer: int = 4,
        sketch_weight: float = 0.0,
        draws: bool = True,
    ) -> None:
        super().__init__()
        self.lookup_weight, self.lookup_layer, self.change_weight = lookup_weight, lookup_layer, change_weight
        self.recall_weight, self.recall_layer = recall_weight, recall_layer
        self.lookups = Lookups(model.config.vl.out_width) if lookup_weight else None
        self.recalls = Lookups(model.config.vl.out_width) if recall_weight else None
        self.sketch_weight, self.draws = sketch_weight, draws
        self.sketches = SketchReader(model.config.vl.out_width) if sketch_weight else None
        self.model, self.answer_weight, self.mask_weight, self.projected = model, answer_weight, mask_weight, projected

    def train(self, mode: bool = True) -> LanguageStage:
        """Training mode for what learns; frozen encoders keep their statistics."""
        super().train(mode)
        settle(self.model.visual_encoder)
        settle(self.model.audio_encoder)
        return self

    def counts(self, batch: Batch) -> Totals:
        """What a batch's sums are divided by: tokens to write, those of answers, their weights, and masks."""
        kept = batch["labels"][:, 1:] != IGNORED
        tokens, answers = int(kept.sum()), int((batch["answers"][:, 1:] & kept).sum())
        weight = tokens + answers * (self.answer_weight - 1.0)
        named: dict[str, float] = {}
        if self.lookups is not None:
            named |= self.lookups.counts(**_facts(batch["lookups"], "names"))
        if self.recalls is not None:
            recalled = self.recalls.counts(**_facts(batch["lookups"], "recalled"))
            named |= {"recalled": recalled["names"], "recalled_measures": recalled["measures"]}
        masks = len(batch["masks"].get("shot", ()))
        positions = int(_filled(batch).sum()) if self.lookups is not None else 0
        return {"tokens": tokens, "answers": answers, "weight": weight, "masks": masks, "positions": positions, **named}

    def forward(
        self,
        seen: torch.Tensor,
        heard: torch.Tensor,
        in_sight: torch.Tensor,
        in_earshot: torch.Tensor,
        numbers: torch.Tensor,
        masks: Mapping[str, torch.Tensor],
        lookups: Mapping[str, torch.Tensor],
        totals: Totals,
        **texts: torch.Tensor,
    ) -> Mapping[str, torch.Tensor]:
        """A piece's part of a step's loss for seen (B, T, P, D), heard (B, T, n, D), which of their seconds count
        (B, T), and `Packed`.

        `numbers` (B, T) are the seconds' own, 0 for the one of a still picture; `masks` is what `mask_batch` gives,
        `lookups` what `Lookups` takes, once for `names` and once for what is `recalled`, and `totals` are the `counts`
        of the whole step.
        """
        packed = Packed(**texts)
        embeds, read = self._read(packed, *self.rows(seen, heard, in_sight, in_earshot, numbers))
        hidden = read.last_hidden_state  # (B, L, W)
        wanted = packed.labels[:, 1:]  # the token that follows each position
        kept = wanted != IGNORED
        logits = self.model.llm.lm_head(hidden[:, :-1][kept])
        of_answer = packed.answers[:, 1:][kept]
        weights = torch.where(of_answer, self.answer_weight, 1.0)
        losses = F.cross_entropy(logits, wanted[kept], reduction="none")
        loss = mean(losses * weights, totals["weight"])
        right = (logits.argmax(-1) == wanted[kept]).float().detach()
        told = {"token_accuracy": mean(right, totals["tokens"])}
        if totals["answers"]:
            told["answer_accuracy"] = mean(right[of_answer], totals["answers"])
        if totals["masks"] and self.draws:
            of_masks = mask_losses(self.model, hidden, masks, totals["masks"])
            loss = loss + self.mask_weight * of_masks["mask_loss"]
            told |= {name: value.detach() for name, value in of_masks.items()}
        if totals["masks"] and self.sketches is not None:
            sketched = self.sketches(hidden, masks, totals["masks"])
            loss = loss + self.sketch_weight * sketched["sketch_loss"]
            told |= {name: value.detach() for name, value in sketched.items()}
        if self.lookups is not None:
            states = read.hidden_states[self.lookup_layer]
            of_names = self.lookups(states, **_facts(lookups, "names"), totals=totals)
            loss = loss + self.lookup_weight * of_names["lookup_loss"]
            told |= {name: value.detach() for name, value in of_names.items()}
            ratio = (states - embeds).square().sum(-1) / embeds.square().sum(-1).clamp_min(1e-9)  # (B, L)
            change = mean(ratio[_filled(texts)], totals["positions"])
            loss, told["change"] = loss + self.change_weight * change, change.detach()
        if self.recalls is not None:
            of_last = self.recalls(
                read.hidden_states[self.recall_layer],
                **_facts(lookups, "recalled"),
                totals={"names": totals["recalled"], "measures": totals["recalled_measures"]},
            )
            loss = loss + self.recall_weight * of_last["lookup_loss"]
            told |= {"recall_loss": of_last["lookup_loss"].detach(), "facts_recalled": of_last["facts_right"]}
        return {"loss": loss, **told}

    def _read(self, packed: Packed, video: torch.Tensor, audio: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The embeddings (B, L, W) of packed texts behind rows of features, and what the LLM makes of them."""
        embeds = self.model.llm.get_input_embeddings()(packed.ids)  # (B, L, W)
        embeds = embeds.masked_scatter(packed.video[..., None], video.to(embeds.dtype))
        embeds = embeds.masked_scatter(packed.audio[..., None], audio.to(embeds.dtype))
        read = self.model.llm.model(
            inputs_embeds=embeds,
            attention_mask=packed.attention,
            position_ids=packed.positions,
            use_cache=False,
            output_hidden_states=self.lookups is not None,
        )
        return embeds, read

    @torch.no_grad()
    def fit_heads(self, batches: Iterable[Batch]) -> None:
        """What reads facts off the states begins fitted to the states of some batches."""
        heads = [
            (self.lookups, self.lookup_layer, "names"),
            (self.recalls, self.recall_layer, "recalled"),
        ]
        seen: list[list[Any]] = [[] for _ in heads]
        self.eval()
        for batch in batches:
            packed = Packed(**{item.name: batch[item.name] for item in fields(Packed)})
            rows = self.rows(*(batch[name] for name in ("seen", "heard", "in_sight", "in_earshot", "numbers")))
            states = self._read(packed, *rows)[1].hidden_states
            for (head, layer, named), kept in zip(heads, seen, strict=True):
                if head is not None:
                    kept.append((states[layer], _facts(batch["lookups"], named)))
        for (head, _, _), kept in zip(heads, seen, strict=True):
            if head is not None:
                head.fit(kept)

    def rows(
        self,
        seen: torch.Tensor,
        heard: torch.Tensor,
        in_sight: torch.Tensor,
        in_earshot: torch.Tensor,
        numbers: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The query tokens (M, Q, W) of all seconds that count, clip after clip, of pictures and of sound."""
        if self.projected:
            return seen[in_sight], heard[in_earshot]
        video = self.model.vl_projector(self.model.tag_video(seen[in_sight], numbers[in_sight]))
        return video, self.model.al_projector(self.model.tag_audio(heard[in_earshot], numbers[in_earshot]))


def _facts(lookups: Mapping[str, torch.Tensor], named: str) -> dict[str, torch.Tensor]:
    """What `Lookups` takes, with the classes that stand under `named`."""
    return {"names": lookups[named], "choices": lookups["choices"], "measures": lookups["measures"]}


def _filled(texts: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(B, L) where a row has a token or a feature, and no padding."""
    return (texts["ids"] != PADDING) | texts["video"] | texts["audio"]
