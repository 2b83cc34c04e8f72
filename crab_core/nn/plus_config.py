"""The numbers of a Crab+ network, as they stand in the header of its model folder.

Source: Crab+ (arXiv 2603.04128) and its release: Qwen2.5-Omni's thinker, I-LoRA with 3 heads of rank 128.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from crab_core.nn.crab_config import CLIP_MEAN, CLIP_STD, ILoraConfig, build
from crab_core.nn.limits import DEEPEST, LARGEST, LLM_LIMITS, WIDEST, check_limits

SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of perceiving auditory and "
    "visual inputs, as well as generating text and speech."
)
Profile = Literal["published", "native"]
Tables = Literal["float32", "bfloat16"]
PIXEL_STEP = 28  # a side of a picture is a multiple of patch 14 times merge 2
_TOWER_LIMITS: Mapping[str, Mapping[str, int]] = {
    "audio_config": {
        "encoder_layers": DEEPEST,
        "d_model": WIDEST,
        "encoder_ffn_dim": 1 << 20,
        "num_mel_bins": 4096,
        "max_source_positions": LARGEST,
        "output_dim": WIDEST,
    },
    "vision_config": {
        "depth": DEEPEST,
        "hidden_size": WIDEST,
        "intermediate_size": 1 << 20,
        "patch_size": 1024,
        "out_hidden_size": WIDEST,
    },
    "text_config": LLM_LIMITS,
}


@dataclass(frozen=True, slots=True)
class PlusMedia:
    """What the network sees and hears of a clip.

    `published`: always `frames` frames, squeezed to `frame_px` x `frame_px`, two of them `grid_s` nominal seconds,
    whatever the clip lasts. `native`: a frame a second in the clip's own aspect ratio, at most `most_pixels` each, and
    true seconds. `frame_px` is also the side in whose pixels boxes are told. Tasks named in `emotion_tasks` see
    `emotion_frames` frames and hear that many seconds from the start; those in `wide_tasks` hear two seconds around
    each of ten looks.
    """

    profile: Profile = "published"
    frames: int = 10
    frame_px: int = 224
    grid_s: float = 2.0
    most_pixels: int = 768 * PIXEL_STEP * PIXEL_STEP
    emotion_tasks: tuple[str, ...] = ("emotion",)
    emotion_frames: int = 4
    wide_tasks: tuple[str, ...] = ("avqa",)
    wide_window_s: tuple[float, float] = (-0.5, 1.5)
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if self.profile not in get_args(Profile):
            raise ValueError(f"media.profile must be one of {', '.join(get_args(Profile))}, got '{self.profile}'")
        for name, most in (("frames", 1024), ("emotion_frames", 1024), ("frame_px", 2048)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"media.{name} must be from 1 to {most}, got {getattr(self, name)}")
        if self.frame_px % PIXEL_STEP:
            raise ValueError(f"media.frame_px must be a multiple of {PIXEL_STEP}, got {self.frame_px}")
        if self.most_pixels < PIXEL_STEP**2 or self.grid_s <= 0 or min(self.std) <= 0:
            raise ValueError("media.most_pixels, grid_s and std must be above 0")


@dataclass(frozen=True, slots=True)
class PlusConfig:
    """A whole network.

    `thinker` is Qwen2.5-Omni's own `config.json`, that of the thinker. `tables` says in which arithmetic the tables of
    positions are made: `float32`, or `bfloat16` as in the published training, where rounding moved them.
    """

    thinker: Mapping[str, Any]
    ilora: ILoraConfig | None = None
    media: PlusMedia = PlusMedia()
    tables: Tables = "float32"
    system: str = SYSTEM

    def __post_init__(self) -> None:
        if self.tables not in get_args(Tables):
            raise ValueError(f"tables must be one of {', '.join(get_args(Tables))}, got '{self.tables}'")
        for part, limits in _TOWER_LIMITS.items():
            numbers = self.thinker.get(part) if isinstance(self.thinker, Mapping) else None
            if not isinstance(numbers, Mapping):
                raise ValueError(f"'thinker' lacks '{part}'")
            check_limits(f"thinker.{part}", numbers, limits)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PlusConfig:
        """The config that `to_dict` wrote; raises ValueError for a lacking or unknown key or an impossible number."""
        values = dict(document)
        for name, kind in (("ilora", ILoraConfig), ("media", PlusMedia)):
            if values.get(name) is not None:
                values[name] = build(kind, values[name], name)
        return build(cls, values, "config")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)
