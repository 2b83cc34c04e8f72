"""A loaded network of the Crab family: what it wants of a clip, how it looks and listens, how it writes.

A medium that a clip lacks has no rows: its placeholder goes, the marks around it stay in the prompt, as where the
published code is given no features.
Letters: N frames, S seconds of sound, Q queries, W width of the LLM.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from crab_core.families._base import Encoded, Generated
from crab_core.families.crab_masks import capability_for, drawn, shared_capability
from crab_core.families.crab_prefix import Prompts
from crab_core.families.crab_text import Chat
from crab_core.families.steps import FixedSteps
from crab_core.families.writing import WritingNetwork, generated, until_end
from crab_core.nn.filterbank import SAMPLE_RATE_HZ, filter_bank
from crab_core.nn.splice import Row, Splicer, Stretch
from crab_core.stats import part
from crab_core.types import Clip, Medium, Prompt, View

if TYPE_CHECKING:
    from crab_core.families.crab_heads import CrabHeads
    from crab_core.nn.crab import CrabModel
    from crab_core.nn.crab_config import ILoraConfig
    from crab_core.nn.domain import Domain

SLACK_S = 0.5  # a clip that is longer than the trained length by this much is still one of that length


@dataclass(frozen=True)
class CrabNetwork(WritingNetwork):
    """Implements `families._base.Network`; `model` and `chat` are open to training, heads and evaluation.

    `domain` is what the training's pictures were like, None if that is not known.
    """

    name: str
    model: CrabModel
    chat: Chat
    steps: FixedSteps | None = None
    domain: Domain | None = None

    @property
    def ilora(self) -> ILoraConfig | None:
        """What the adapter is; None if there is none."""
        return self.model.config.ilora

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels of the frames that the network sees; their aspect ratio is lost, as in training."""
        return self.model.config.media.frame_px, self.model.config.media.frame_px

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height) of the picture in whose pixels boxes are told."""
        return self.model.config.media.box_px, self.model.config.media.box_px

    def view(self, task: str, duration_s: float) -> View:
        """One look a second; a clip longer than the trained length gets as many looks as that has, evenly spread.

        Frames are the first of equal intervals. Sound is heard for a second from each look on, or in the wider window
        that the config names for the task.
        """
        media = self.model.config.media
        sampled = duration_s > media.seconds + SLACK_S
        looks = media.seconds if sampled else max(1, min(media.seconds, math.floor(duration_s + 0.5)))
        second_s = duration_s / looks if sampled else 1.0
        start, end = media.wide_window_s if task in media.wide_window_tasks else media.sound_window_s
        return View(
            frame_times_s=tuple(look * duration_s / looks for look in range(looks)),
            sound_windows_s=tuple((look * second_s + start, look * second_s + end) for look in range(looks)),
            second_s=second_s,
        )

    @torch.inference_mode()
    def encode(self, clip: Clip, task: str) -> Encoded:
        """The clip as tokens, `video` (N, Q, W) and `audio` (S, Q, W), without those that it lacks.

        For a task that draws masks the first frame is also there as `image` (1, Q, W).
        """
        return self.encode_tensors(task, **self.tensors_of(clip))

    def tensors_of(self, clip: Clip) -> dict[str, torch.Tensor]:
        """What the encoders read of a clip: `frames` (N, 3, H, W) and `banks` (S, L, 128), without those it lacks."""
        found = {}
        if clip.has_frames:
            found["frames"] = self._pictures(clip)
        if clip.has_sound and clip.sound_windows_s:
            found["banks"] = self._banks(clip)
        return found

    def sight(self, task: str) -> str:
        """The capability that the task needs, empty for text; raises ModelError if the model lacks it."""
        return capability_for(task, self.model)

    def for_text(self, encoded: Encoded) -> Encoded:
        """The same tokens, for a task that only writes."""
        return replace(encoded, capability="", layers=())

    @torch.inference_mode()
    def encode_tensors(
        self, task: str, frames: torch.Tensor | None = None, banks: torch.Tensor | None = None
    ) -> Encoded:
        """What `encode` gives, of normalised frames (N, 3, H, W) and filter banks (S, L, 128)."""
        capability = capability_for(task, self.model)
        features: dict[Medium, torch.Tensor] = {}
        layers: tuple[torch.Tensor, ...] = ()
        strange: dict[Medium, float] = {}
        if frames is not None:
            states = self.model.visual_encoder(frames)
            features["video"] = self.model.project_video(states[-1])
            if self.domain is not None:
                strange["video"] = self.domain.strangeness(states[-1])
            if capability:
                features["image"] = features["video"][:1]
                layers = self.model.mask_layers(states)
        if banks is not None:
            features["audio"] = self.model.hear(banks)
        return Encoded(features, capability, layers, strange)

    @torch.inference_mode()
    def force(self, encoded: Encoded, prompt: Prompt, answer: str) -> Generated:
        """As if the network had written this answer: the mask of its mask tokens is in `extras`, if it has six."""
        ids, target = self.chat.prompt_ids(prompt), self.chat.target_ids(answer)
        with self.model.using(encoded.capability):
            spliced = self.prompts([encoded], [[*ids, *target]]).spliced
            hidden = self.model.llm.model(inputs_embeds=spliced.embeds).last_hidden_state[0]
        states = hidden[-len(target) - 1 : -1]  # each predicts the token after it
        stretches = _of_prompt(spliced.stretches[0], len(target))
        return generated(self.chat, target, stretches, extras=self.extras(encoded, target, states))

    def inside(self) -> CrabHeads:
        """The heads of the I-LoRA, to be watched; raises ModelError if the model has none."""
        from crab_core.families.crab_heads import CrabHeads

        return CrabHeads.of(self)

    def _pictures(self, clip: Clip) -> torch.Tensor:
        """(N, 3, H, W), normalised, in the network's dtype and on its device."""
        media = self.model.config.media
        frames = clip.frames
        if frames.shape[1:3] != (media.frame_px, media.frame_px):
            import cv2
            import numpy as np

            size = (media.frame_px, media.frame_px)
            frames = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames])
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (media.mean, media.std))
        return ((pictures - mean) / std).to(self._like)

    def _banks(self, clip: Clip) -> torch.Tensor:
        """(S, L, 128), one filter bank a window."""
        lengths = [round((end - start) * SAMPLE_RATE_HZ) for start, end in clip.sound_windows_s]
        waveform = torch.from_numpy(clip.waveform)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, sum(lengths) - len(waveform))))
        segments = waveform[: sum(lengths)].split(lengths)
        with part("fbank"):
            return filter_bank(torch.nn.utils.rnn.pad_sequence(list(segments), batch_first=True)).to(self._like)

    @property
    def _like(self) -> torch.Tensor:
        """A tensor whose dtype and device the network computes in."""
        return self.model.vl_projector.queries

    def prompts(self, encoded: Sequence[Encoded], ids: Sequence[Sequence[int]]) -> Prompts:
        """Rows of ids with their media in place; a token stands after the one before it."""
        rows = [Row(row, len(row), one.features) for row, one in zip(ids, encoded, strict=True)]
        spliced = Splicer(self.chat.placeholders, self.chat.pad_id, self.chat.mask_ids)(rows, self.model.embed)
        return Prompts(spliced, spliced.position_ids[None])

    @contextmanager
    def using(self, encoded: Sequence[Encoded]) -> Iterator[list[torch.Tensor] | None]:
        """Within the block the LLM has the tables of the capability; states are wanted if masks may follow."""
        capability = shared_capability(encoded)
        with self.model.using(capability):
            yield [] if capability else None

    def extras(self, one: Encoded, written: list[int], states: Sequence[torch.Tensor]) -> Mapping[str, object]:
        """The mask of what was written."""
        if not one.capability:
            return {}
        with part("mask"):
            return {**drawn(self.model, one, until_end(written, self.chat.end_ids), states, self.chat.mask_ids)}


def _of_prompt(stretches: tuple[Stretch, ...], target: int) -> tuple[Stretch, ...]:
    """The stretches without the target at the end of the last run of text."""
    last = stretches[-1]
    return (*stretches[:-1], replace(last, end=last.end - target))
