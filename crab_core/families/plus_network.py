"""A loaded network of the Crab+ family: what it wants of a clip, how it looks and listens, how it writes.

Source: Crab+ (arXiv 2603.04128); media parameters of its release, see `nn.plus_config.PlusMedia`.
Letters: T steps of two frames, S stretches of sound, Q tokens, W width of the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from crab_core.errors import ModelError
from crab_core.families._base import Encoded, Generated, OnText
from crab_core.families.crab_prefix import Memory, begun_by
from crab_core.families.crab_text import Teller
from crab_core.families.pace import pace, tell_counts
from crab_core.families.plus_sights import PlusEncoded, Sights
from crab_core.families.plus_text import PlusChat
from crab_core.families.plus_view import step_s, view_of
from crab_core.families.plus_writing import write
from crab_core.families.writing import WritingNetwork, allowed, generated
from crab_core.nn.plus_media import log_mel, patches
from crab_core.nn.plus_positions import Grid, positions
from crab_core.nn.splice import Row, Spliced, Splicer
from crab_core.registry import TASKS
from crab_core.types import Clip, Decoding, Medium, Prompt, View

if TYPE_CHECKING:
    from transformers import DynamicCache

    from crab_core.families.plus_heads import PlusHeads
    from crab_core.nn.crab_config import ILoraConfig
    from crab_core.nn.plus import PlusModel

PER_SECOND = 25  # tokens of a second of sound
UNKNOWN = ("avss",)  # a task whose answer this network has no words for
PICTURE = "picture"  # the sight of tasks that are asked about one picture


@dataclass(frozen=True)
class PlusNetwork(WritingNetwork):
    """Implements `families._base.Network`; `model` and `chat` are open to training, heads and evaluation."""

    name: str
    model: PlusModel
    chat: PlusChat

    @property
    def ilora(self) -> ILoraConfig | None:
        """What the adapter is; None if there is none."""
        return self.model.config.ilora

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(width, height) in pixels at which frames should be decoded; None in the native profile."""
        media = self.model.config.media
        return (media.frame_px, media.frame_px) if media.profile == "published" else None

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height) of the picture in whose pixels boxes are told."""
        return self.model.config.media.frame_px, self.model.config.media.frame_px

    def view(self, task: str, duration_s: float) -> View:
        """The frames and the sound that the network wants: see `plus_view.view_of`."""
        return view_of(self.model.config.media, task, duration_s)

    def sight(self, task: str) -> str:
        """Tasks about pictures share encodings, and so do all others; raises ModelError for a task without words."""
        if task in UNKNOWN:
            raise ModelError(
                f"the model '{self.name}' cannot do the task '{task}': Crab+ never learnt it",
                hint="Import crab-7b with --avss FILE, or use s4, ms3 or ref-avs.",
            )
        return PICTURE if task in TASKS and TASKS[task].load().moment is not None else ""

    def for_text(self, encoded: Encoded) -> Encoded:
        """The same with all frames as a video, for a task that is about the clip."""
        return encoded.with_video() if isinstance(encoded, PlusEncoded) else encoded

    @torch.inference_mode()
    def encode(self, clip: Clip, task: str) -> PlusEncoded:
        """The clip as tokens: `video` (T, Q, W), or `image` (1, Q, W) for a task that is shown one picture, and
        `audio` (S, Q, W); without those that it lacks."""
        media = self.model.config.media
        sights = Sights(self.model, clip.frames, step_s(media, clip.frame_times_s)) if clip.has_frames else None
        features: dict[Medium, torch.Tensor] = {}
        grids: dict[Medium, Grid] = {}
        is_picture = self.sight(task) == PICTURE and len(clip.frames) == 1
        if sights is not None and is_picture:
            features["image"], grids["image"] = sights.picture(0)
        elif sights is not None:
            features["video"], grids["video"] = sights.video()
        if clip.has_sound and len(clip.waveform):
            tokens = self.model.hear(log_mel(clip.waveform).to(self.model.device))
            features["audio"] = _by_second(tokens, len(clip.sound_windows_s))
        return PlusEncoded(features, grids=grids, sights=sights)

    def tensors_of(self, clip: Clip) -> dict[str, torch.Tensor]:
        """What the towers read of a clip: `frames` patches (n, 1176) with their `grid` (3,) and `step` in seconds, and
        `banks`, a spectrogram (128, F); without what it lacks."""
        found: dict[str, torch.Tensor] = {}
        media = self.model.config.media
        if clip.has_frames:
            found["frames"], grid = patches(clip.frames, media)
            found |= {"grid": torch.tensor(grid), "step": torch.tensor(step_s(media, clip.frame_times_s))}
        if clip.has_sound and len(clip.waveform):
            found["banks"] = log_mel(clip.waveform)
        return found

    def inside(self) -> PlusHeads:
        """The heads of the I-LoRA, to be watched; raises ModelError if the model has none."""
        from crab_core.families.plus_heads import PlusHeads

        return PlusHeads.of(self)

    def spliced(self, encoded: Sequence[Encoded], ids: Sequence[Sequence[int]]) -> tuple[Spliced, torch.Tensor]:
        """Rows of ids with their media in place, padded on the left, and where their tokens stand: (3, B, L)."""
        rows = [Row(row, len(row), one.features) for row, one in zip(ids, encoded, strict=True)]
        spliced = Splicer(self.chat.placeholders, self.chat.pad_id)(rows, self.model.embed)
        length, per_second = spliced.embeds.shape[1], self.model.per_second
        grids = [one.grids if isinstance(one, PlusEncoded) else {} for one in encoded]
        stands = [positions(one, length, grid, per_second) for one, grid in zip(spliced.stretches, grids, strict=True)]
        return spliced, torch.stack(stands, dim=1).to(self.model.device)

    def write(
        self,
        encoded: Sequence[Encoded],
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_text: OnText | None = None,
        memory: Memory | None = None,
    ) -> list[Generated]:
        """One text a prompt; a prompt alone is computed in two parts, of which the memory may hold the first."""
        with torch.inference_mode():
            spliced, stands = self.spliced(encoded, [self.chat.prompt_ids(prompt) for prompt in prompts])
            asked = allowed(decoding, spliced.embeds.shape[1], int(self.model.text.config.max_position_embeddings))
            teller = Teller(self.chat, on_text) if on_text is not None else None
            listener = pace(teller)
            heard = None if listener is None else lambda told: listener.put(torch.tensor(told))
            args = (spliced.embeds, spliced.attention_mask, stands, asked, self.chat.end_ids)
            with self._begun(spliced, stands, memory) if len(prompts) == 1 else nullcontext() as cache:
                written = write(self.model, *args, heard, cache)
        if teller is not None:
            teller.end()
        texts = [
            generated(self.chat, row, one, decoding.max_new_tokens)
            for row, one in zip(written, spliced.stretches, strict=True)
        ]
        tell_counts(texts, memory.reused if memory is not None else 0)
        return texts

    def _begun(
        self, spliced: Spliced, stands: torch.Tensor, memory: Memory | None
    ) -> AbstractContextManager[DynamicCache | None]:
        """A cache that holds the beginning of the one prompt, up to the end of its media."""

        def read(embeds: torch.Tensor, cache: DynamicCache) -> None:
            end = embeds.shape[1]
            self.model.read(embeds, spliced.attention_mask[:, :end], stands[..., :end], cache)

        return begun_by(self.model.text, spliced, memory, read, stands)


def _by_second(tokens: torch.Tensor, windows: int) -> torch.Tensor:
    """Tokens (n, W) as (S, Q, W): by window, else by second, else in one piece."""
    count = len(tokens)
    if windows and count % windows == 0:
        return tokens.unflatten(0, (windows, -1))
    return tokens.unflatten(0, (count // PER_SECOND, -1)) if count % PER_SECOND == 0 else tokens[None]
