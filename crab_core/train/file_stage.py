"""Learning from annotated clips: projectors, LLM, I-LoRA and mask decoder of any network of the Crab family.

Source: Crab (arXiv 2503.13068, section 4.1). The loss of a step is the mean cross-entropy over the tokens of all its
texts, however its rows are shared out over pieces and processes, plus the mean loss of its masks.
Letters: B rows, L positions, N frames, S seconds, P patches, D width, Q queries, W width of the LLM, K masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from crab_core.nn.crab import CrabModel
from crab_core.nn.mask_losses import binary_iou, binary_loss, semantic_loss
from crab_core.train.file_rows import Piece
from crab_core.train.lessons import MASK_TASKS, SEMANTIC_TASKS
from crab_core.train.looking import Looked, Tensors, placed
from crab_core.train.packing import IGNORED

TASK_TABLES: Mapping[str, str] = {task: "avss" if task in SEMANTIC_TASKS else "avs" for task in MASK_TASKS}


class FileStage(nn.Module):
    """`forward(piece, tokens, masks)` gives a piece's part of the step's loss; these are the whole step's counts.

    `dtype` is what frozen weights compute in; learning weights are kept in float32 and cast as they are used.
    """

    def __init__(
        self, model: CrabModel, parts: Sequence[str], answer_weight: float, mask_weight: float, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model, self.answer_weight, self.mask_weight, self.dtype = model, answer_weight, mask_weight, dtype
        self.parts = frozenset(parts)
        tokens = model.llm.get_input_embeddings().weight
        known = dict(model.capabilities.items())
        self.own_tables = frozenset(name for name in known if not torch.equal(known[name].tokens.weight, tokens))

    def train(self, mode: bool = True) -> FileStage:
        """Training mode for what learns; what is frozen keeps its statistics and drops nothing."""
        super().train(mode)
        for part in ("visual_encoder", "audio_encoder", "vl_projector", "al_projector"):
            if part not in self.parts:
                getattr(self.model, part).eval()
        return self

    @torch.no_grad()
    def encoded(self, looked: Looked) -> Looked:
        """What frozen encoders give for a lesson, rounded to half precision as it is kept in a cache."""
        with self.computing():
            found = self._encode(looked.media, looked.picture if looked.lesson.task in MASK_TASKS else None)
        return replace(looked, media={name: one.half().cpu() for name, one in found.items()})

    def forward(self, piece: Piece, tokens: float, masks: float) -> Mapping[str, torch.Tensor]:
        """`loss`, `token_accuracy` and with masks `mask_loss`, `mask_iou`: sums over a step's pieces are the step's."""
        packed, device = piece.packed, self.model.vl_projector.queries.device
        using: AbstractContextManager[None] = self.model.using(piece.tables)
        with self.computing(), using:
            media = [self._media(one) for one in piece.looked]
            embeds = self.model.llm.get_input_embeddings()(packed.ids.to(device))  # (B, L, W)
            sight, sound = self._rows(piece, media)
            for rows, places in ((sight, packed.video), (sound, packed.audio)):
                if rows is not None:
                    embeds = embeds.masked_scatter(places.to(device)[..., None], rows.to(embeds.dtype))
            hidden = self.model.llm.model(
                inputs_embeds=embeds,
                attention_mask=packed.attention.to(device),
                position_ids=packed.positions.to(device),
                use_cache=False,
            ).last_hidden_state  # (B, L, W)
            wanted = packed.labels[:, 1:].to(device)
            kept = wanted != IGNORED
            logits = self.model.llm.get_output_embeddings()(hidden[:, :-1][kept])
            weights = torch.where(packed.answers[:, 1:].to(device)[kept], self.answer_weight, 1.0)
            losses = F.cross_entropy(logits.float(), wanted[kept], reduction="none")
            loss = (losses * weights).sum() / tokens
            right = ((logits.argmax(-1) == wanted[kept]) * weights).sum() / tokens
            told = {"token_accuracy": right.detach()}
            if piece.masks:
                of_masks = self._masks(piece, media, hidden, masks)
                loss = loss + self.mask_weight * of_masks["mask_loss"]
                told |= {name: one.detach() for name, one in of_masks.items()}
        return {"loss": loss, **told, "tokens": kept.sum() * math.isfinite(tokens)}

    def computing(self) -> AbstractContextManager[object]:
        """The precision of computing."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.model.vl_projector.queries.device.type, dtype=self.dtype)

    def _media(self, looked: Looked) -> Tensors:
        """What the encoders gave, or give now because they learn."""
        like = self.model.vl_projector.queries
        dtype = like.dtype if self.dtype == torch.float32 else self.dtype
        media = {name: one.to(like.device, dtype) for name, one in looked.media.items()}
        if looked.is_encoded:
            return media
        return self._encode(media, looked.picture if looked.lesson.task in MASK_TASKS else None)

    def _encode(self, media: Tensors, picture: int | None) -> Tensors:
        found: Tensors = {}
        if "frames" in media:
            states = self.model.visual_encoder(media["frames"])
            found["seen"] = states[-1]
            if picture is not None and self.model.config.mask is not None:
                for number, layer in enumerate(self.model.mask_layers(states)):
                    found[f"layer_{number}"] = layer[picture : picture + 1]
        if "banks" in media:
            found["heard"] = self.model.audio_encoder(media["banks"])
        return found

    def _rows(self, piece: Piece, media: Sequence[Tensors]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """The query tokens (M, W) of sight and of sound in the order of their places; None without any."""
        sight, sound = [], []
        for one, held, order in zip(piece.looked, media, piece.order, strict=True):
            features = {}
            if "seen" in held:
                features["video"] = self.model.vl_projector(self.model.tag_video(held["seen"]))  # (N, Q, W)
            if "heard" in held:
                sound.append(self.model.al_projector(self.model.tag_audio(held["heard"])).flatten(0, 1))
            shown = placed(one, features).features
            sight += [shown[kind].flatten(0, 1) for kind in order if kind in shown]
        return torch.cat(sight) if sight else None, torch.cat(sound) if sound else None

    def _masks(
        self, piece: Piece, media: Sequence[Tensors], hidden: torch.Tensor, masks: float
    ) -> dict[str, torch.Tensor]:
        """`mask_loss` and `mask_iou`, of binary and of semantic masks: parts of means over all masks of the step."""
        states = hidden.flatten(0, 1)[piece.places.to(hidden.device)]  # (K, t, W)
        loss, iou = states.new_zeros(()), states.new_zeros(())
        for capability in dict.fromkeys(TASK_TABLES.values()):
            rows = [piece.looked[row].lesson.task for row in piece.shot]
            picked = [number for number, task in enumerate(rows) if TASK_TABLES[task] == capability]
            if not picked:
                continue
            shots = [media[piece.shot[number]] for number in picked]
            layers = [torch.cat([one[f"layer_{level}"] for one in shots]) for level in range(2)]
            logits = self.model.capabilities[capability].draw(states[picked], layers).float()  # (k, C, h, w)
            truths = [piece.truths[number] for number in picked]
            score = _semantic if capability == "avss" else _binary
            made = score(logits, [one.to(logits.device) for one in truths])
            loss, iou = loss + made[0], iou + made[1].sum()
        return {"mask_loss": loss / masks, "mask_iou": iou / masks}


def _binary(logits: torch.Tensor, truths: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of masks (k, 1, h, w), and the IoU of each (k,)."""
    truth = torch.stack([_resized(one, logits.shape[-2:]) for one in truths])
    return binary_loss(logits, truth), binary_iou(logits, truth)


def _semantic(logits: torch.Tensor, truths: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss of maps (k, C, h, w), and of each the share of right pixels where something is told or true."""
    size = tuple(logits.shape[-2:])
    truth = torch.stack([F.interpolate(one[None, None].float(), size=size, mode="nearest")[0] for one in truths])
    told, wanted = logits.detach().argmax(1), truth[:, 0].long()  # (k, h, w)
    shown = (told > 0) | (wanted > 0)
    right = ((told == wanted) & shown).flatten(1).sum(1)
    return semantic_loss(logits, truth), right / shown.flatten(1).sum(1).clamp_min(1)


def _resized(pixels: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """(H, W) bool -> (1, h, w) of 0 and 1: pixels that are inside for at least half."""
    whole = F.interpolate(pixels[None, None].float(), size=tuple(size), mode="area")
    return (whole[0] >= 0.5).float()
