"""What a generated clip is made of: plain frozen values, enough to draw it, to play it and to label it.

Positions and sizes are shares of the (square) frame, times are whole seconds of the clip, levels are decibels below a
loud sound. A scene holds no pixels and no samples: `picture` draws it, `sound` plays it, `labels` tells its truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Split = Literal["train", "val", "test", "demo", "geometry"]
SceneKind = Literal["ave", "multi"]
Column = Literal["left", "middle", "right"]

COLUMNS: tuple[Column, ...] = ("left", "middle", "right")


@dataclass(frozen=True, slots=True)
class Span:
    """Whole seconds from `start_s` up to, but without, `end_s`."""

    start_s: int
    end_s: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            raise ValueError(f"a span needs 0 <= start < end, got {self.start_s} to {self.end_s} s")

    def holds(self, time_s: float) -> bool:
        """True if the time lies in the span."""
        return self.start_s <= time_s < self.end_s

    @property
    def seconds(self) -> int:
        """How long it lasts."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class Figure:
    """One drawing in the frame: which sprite, where, and how it sways around that place."""

    style: str
    variant: int
    column: Column
    x: float
    y: float
    size: float
    angle_deg: float
    flipped: bool
    hue: int
    gain: float
    sway_x: float
    sway_y: float
    sway_hz: float
    phase: float
    wobble_deg: float


@dataclass(frozen=True, slots=True)
class Actor:
    """One thing of the scene: when it is seen and heard (None: never), how loud, and its drawings (two if doubled)."""

    name: str
    can_sound: bool
    seen: Span | None
    heard: Span | None
    level_db: float
    sound_seed: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What is behind everything: a kind of pattern and the seed of its shapes and colours."""

    kind: str
    seed: int


@dataclass(frozen=True, slots=True)
class Acoustics:
    """The room and the microphone: reverb, equalisation, background noise and gain of the whole clip."""

    reverb_s: float
    reverb_mix: float
    tilt_db: float
    peak_hz: float
    peak_db: float
    noise: str
    noise_db: float
    gain_db: float
    seed: int


@dataclass(frozen=True, slots=True)
class Scene:
    """The whole recipe of one clip; `split`, `seed` and `index` alone decide it, given a bank."""

    split: Split
    seed: int
    index: int
    kind: SceneKind
    seconds: int
    font: str
    backdrop: Backdrop
    acoustics: Acoustics
    actors: tuple[Actor, ...]

    def to_dict(self) -> dict[str, Any]:
        """The scene as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Scene:
        """The scene that `to_dict` wrote; raises TypeError for an unknown or a lacking key."""
        values = dict(document)
        values["backdrop"] = Backdrop(**values["backdrop"])
        values["acoustics"] = Acoustics(**values["acoustics"])
        values["actors"] = tuple(_actor(actor) for actor in values["actors"])
        return cls(**values)

    @property
    def figures(self) -> tuple[tuple[Actor, Figure], ...]:
        """Every drawing with whom it shows, from the back to the front: number k has the instance id k + 1."""
        return tuple((actor, figure) for actor in self.actors for figure in actor.figures)


def _actor(document: Mapping[str, Any]) -> Actor:
    values = dict(document)
    values["seen"] = Span(**values["seen"]) if values["seen"] else None
    values["heard"] = Span(**values["heard"]) if values["heard"] else None
    values["figures"] = tuple(Figure(**figure) for figure in values["figures"])
    return Actor(**values)
