"""The numbers of a Crab network, as they stand in the header of its model folder.

Source: Crab (arXiv 2503.13068, section 3.2). Defaults are the published ones; the small model says its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from crab_core.nn.capability import MaskConfig
from crab_core.nn.limits import LLM_LIMITS, WIDEST, check_counts, check_limits, check_options
from crab_core.nn.qformer import QFormerConfig

T = TypeVar("T")

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
PUBLISHED_LAYERS = (14, 22, 23)  # hidden states of CLIP; the last feeds the LLM
CONV_LAYERS = (0, 1)  # of the convolutional encoder: a fine map, and what feeds the LLM
MEDIA_LIMITS = {"seconds": 1024, "frame_px": 2048, "box_px": 2048}
WINDOW_S = 60.0  # a look's window of sound lies within so many seconds of its time
ALL_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj", "up_proj")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Which encoder (`clip`, `beats`, `conv`) and the numbers that its class takes."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in self.options.items()}
        object.__setattr__(self, "options", plain)  # JSON has lists only, and equal configs must compare equal
        check_options(self.kind, plain)


@dataclass(frozen=True, slots=True)
class ILoraConfig:
    """Interaction-aware LoRA in the LLM: `heads` share one down-projection of that `rank`.

    `per_head_dropout` draws a mask for each head in training, as the published training does.
    """

    heads: int = 3
    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: tuple[str, ...] = ALL_LINEARS
    per_head_dropout: bool = False

    def __post_init__(self) -> None:
        if self.heads < 1 or self.rank < 1:
            raise ValueError(f"heads and rank must be at least 1, got {self.heads} and {self.rank}")
        check_limits("ilora", {"heads": self.heads, "rank": self.rank}, {"heads": 1024, "rank": WIDEST})


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What the network sees and hears of a clip.

    At most `seconds` looks: a frame of `frame_px` x `frame_px` (aspect ratio lost, as in training), normalised by
    `mean` and `std`, and a window of sound. `sound_window_s` is a look's window around its own time, for tasks that
    are named in `wide_window_tasks` it is `wide_window_s`. Boxes are told in `box_px`ths of the picture's sides.
    """

    seconds: int = 10
    frame_px: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    sound_window_s: tuple[float, float] = (0.0, 1.0)
    wide_window_s: tuple[float, float] = (-0.5, 1.5)
    wide_window_tasks: tuple[str, ...] = ()
    box_px: int = 224

    def __post_init__(self) -> None:
        for name in ("seconds", "frame_px", "box_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        check_limits("media", {name: getattr(self, name) for name in MEDIA_LIMITS}, MEDIA_LIMITS)
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")
        for start, end in (self.sound_window_s, self.wide_window_s):
            if not start < end:
                raise ValueError(f"a sound window needs start < end, got {start} to {end} s")
            if not -WINDOW_S <= start < end <= WINDOW_S:
                raise ValueError(f"a sound window lies within {WINDOW_S:g} s of its look, got {start} to {end} s")


@dataclass(frozen=True, slots=True)
class CrabConfig:
    """A whole network.

    `llm` holds what transformers' LlamaConfig takes; `time_tags` is the number of learned embeddings of the second,
    0 for none (the published networks have none); `system` is the system text of the chat, empty for none; `mask` is
    None for a network that only writes text.
    """

    visual: EncoderConfig
    audio: EncoderConfig
    vl: QFormerConfig
    al: QFormerConfig
    llm: Mapping[str, Any]
    ilora: ILoraConfig | None = None
    time_tags: int = 0
    media: MediaConfig = MediaConfig()
    system: str = ""
    mask: MaskConfig | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.llm, Mapping):
            raise ValueError(f"'llm' must be a mapping, got {self.llm!r}")
        check_limits("llm", self.llm, LLM_LIMITS)
        check_counts("llm", self.llm, LLM_LIMITS)
        width = self.llm.get("hidden_size")
        if not self.vl.out_width == self.al.out_width == width:
            raise ValueError(
                f"both projectors must end at the LLM's hidden_size, got {self.vl.out_width}, "
                f"{self.al.out_width} and {width}"
            )
        if self.time_tags < 0:
            raise ValueError(f"time_tags must not be negative, got {self.time_tags}")
        check_limits("config", {"time_tags": self.time_tags}, {"time_tags": WIDEST})
        if self.mask is not None:
            _check_mask(self.mask, self.visual, int(width or 0))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> CrabConfig:
        """The config that `to_dict` wrote; raises ValueError for a lacking or unknown key or an impossible number."""
        values = dict(document)
        for name, kind in _NESTED.items():
            if values.get(name) is not None:
                values[name] = build(kind, values[name], name)
        return build(cls, values, "config")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


_NESTED: Mapping[str, type] = {
    "visual": EncoderConfig,
    "audio": EncoderConfig,
    "vl": QFormerConfig,
    "al": QFormerConfig,
    "ilora": ILoraConfig,
    "media": MediaConfig,
    "mask": MaskConfig,
}


def _check_mask(mask: MaskConfig, visual: EncoderConfig, llm_width: int) -> None:
    if mask.decoder.state_width != llm_width:
        raise ValueError(f"mask.decoder.state_width must be the LLM's {llm_width}, got {mask.decoder.state_width}")
    shown = visual.options.get("layers", PUBLISHED_LAYERS) if visual.kind == "clip" else CONV_LAYERS
    if not set(mask.layers) <= set(shown):
        raise ValueError(f"mask layers must be among the visual encoder's {list(shown)}, got {list(mask.layers)}")


def build(kind: type[T], values: Any, where: str) -> T:
    """The dataclass of these values, lists as tuples; raises ValueError for what it does not take."""
    if isinstance(values, kind):
        return values
    if not isinstance(values, Mapping):
        raise ValueError(f"'{where}' must be a mapping, got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    required = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    lacking = sorted(required - set(values))
    if unknown or lacking:
        raise ValueError(f"'{where}' has unknown keys {unknown} and lacks {lacking}")
    try:
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
    except TypeError as err:
        raise ValueError(f"'{where}': {err}") from err
