"""A loaded network of the Crab+ family: what it wants of a clip, how it looks and listens, how it writes.

Source: Crab+ (arXiv 2603.04128); media parameters of its release, see `nn.plus_config.PlusMedia`.
Letters: T steps of two frames, S stretches of sound, Q tokens, W width of the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from crab_core.errors import ModelError
from crab_core.families._base import Encoded
from crab_core.families.crab_prefix import Prompts
from crab_core.families.plus_sights import PlusEncoded, Sights
from crab_core.families.plus_text import PlusChat
from crab_core.families.plus_view import step_s, view_of
from crab_core.families.steps import FixedSteps
from crab_core.families.writing import WritingNetwork
from crab_core.nn.plus_media import log_mel, patches
from crab_core.nn.plus_positions import Grid, positions
from crab_core.nn.splice import Row, Splicer
from crab_core.registry import TASKS
from crab_core.types import Clip, Medium, View

if TYPE_CHECKING:
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
    steps: FixedSteps | None = None

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

    def prompts(self, encoded: Sequence[Encoded], ids: Sequence[Sequence[int]]) -> Prompts:
        """Rows of ids with their media in place; media stand in time, height and width."""
        rows = [Row(row, len(row), one.features) for row, one in zip(ids, encoded, strict=True)]
        spliced = Splicer(self.chat.placeholders, self.chat.pad_id)(rows, self.model.embed)
        length, per_second = spliced.embeds.shape[1], self.model.per_second
        grids = [one.grids if isinstance(one, PlusEncoded) else {} for one in encoded]
        stands = [positions(one, length, grid, per_second) for one, grid in zip(spliced.stretches, grids, strict=True)]
        return Prompts(spliced, torch.stack(stands, dim=1).to(self.model.device))


def _by_second(tokens: torch.Tensor, windows: int) -> torch.Tensor:
    """Tokens (n, W) as (S, Q, W): by window, else by second, else in one piece."""
    count = len(tokens)
    if windows and count % windows == 0:
        return tokens.unflatten(0, (windows, -1))
    return tokens.unflatten(0, (count // PER_SECOND, -1)) if count % PER_SECOND == 0 else tokens[None]
