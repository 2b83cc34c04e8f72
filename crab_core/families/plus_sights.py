"""What a Crab+ network has encoded of a clip; pictures of it are encoded when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from crab_core.families._base import Encoded
from crab_core.nn.plus import MERGED
from crab_core.nn.plus_media import patches
from crab_core.nn.plus_positions import Grid
from crab_core.types import Medium

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crab_core.nn.plus import PlusModel


@dataclass(frozen=True)
class Sights:
    """The frames (N, H, W, 3) of a clip, to be looked at as a video whose steps are `step_s` apart, or one by one."""

    model: PlusModel
    frames: npt.NDArray[np.uint8]
    step_s: float

    @torch.inference_mode()
    def video(self) -> tuple[torch.Tensor, Grid]:
        """All frames: (T, Q, W)."""
        return self._seen(self.frames, self.step_s)

    @torch.inference_mode()
    def picture(self, index: int) -> tuple[torch.Tensor, Grid]:
        """One frame alone: (1, Q, W)."""
        return self._seen(self.frames[index : index + 1], 0.0)

    def _seen(self, frames: npt.NDArray[np.uint8], step_s: float) -> tuple[torch.Tensor, Grid]:
        pixels, (steps, high, wide) = patches(frames, self.model.config.media)
        tokens = self.model.see(pixels.to(self.model.device), (steps, high, wide))
        return tokens, Grid(high // MERGED, wide // MERGED, step_s)


@dataclass(frozen=True)
class PlusEncoded(Encoded):
    """Tokens with the lattices that they lie on; `sights` is None where nothing is seen."""

    grids: Mapping[Medium, Grid] = field(default_factory=dict)
    sights: Sights | None = None

    def at(self, index: int) -> PlusEncoded:
        """The same with frame `index` as the picture, encoded now; one that has a picture alone stays as it is."""
        if self.sights is None or "video" not in self.features:
            return self
        return self._with("image", *self.sights.picture(index))

    def with_video(self) -> PlusEncoded:
        """The same with all frames as the video."""
        if self.sights is None or "video" in self.features:
            return self
        return self._with("video", *self.sights.video())

    def _with(self, kind: Medium, tokens: torch.Tensor, grid: Grid) -> PlusEncoded:
        return replace(self, features={**self.features, kind: tokens}, grids={**self.grids, kind: grid})
