"""The truth about a scene: what is seen and heard, when, where, how loud; and boxes from the drawn instance ids.

`label(scene)` needs no picture and no sound, since a scene is made so that everything it says holds in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from crab_core.world.classes import SOUNDING
from crab_core.world.spec import Actor, Scene, Span

Level = Literal["loud", "medium", "soft"]
Place = Literal["left", "middle", "right", "several", "off screen"]

CLASS_NAMES: tuple[str, ...] = tuple(one.name for one in SOUNDING)
CLASS_INDEX: dict[str, int] = {name: number for number, name in enumerate(CLASS_NAMES)}
MIN_BOX_SHARE = 0.004  # of the frame: fewer visible pixels give no box


@dataclass(frozen=True, slots=True)
class SeenFact:
    """Something is in the picture: `count` of it, in a column ("several" if two stand in different columns).

    `can_sound` tells classes that sound from those that never do; `sounding` that it is heard in this clip, at
    whatever time.
    """

    name: str
    start_s: int
    end_s: int
    place: Place
    count: int
    can_sound: bool
    sounding: bool


@dataclass(frozen=True, slots=True)
class HeardFact:
    """Something is heard at a level; its place is "off screen" if this clip never shows it."""

    name: str
    start_s: int
    end_s: int
    level: Level
    level_db: float
    place: Place
    count: int

    @property
    def visible(self) -> bool:
        """True if the clip shows it, at whatever time."""
        return self.place != "off screen"


@dataclass(frozen=True, slots=True)
class BothFact:
    """Something is seen and heard in the same seconds."""

    name: str
    start_s: int
    end_s: int


@dataclass(frozen=True, slots=True)
class SeenBox:
    """Where one drawing is visible in one second's frame; the corners are shares of the frame, 0 to 1."""

    name: str
    second: int
    figure: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True, eq=False)
class SceneLabels:
    """All labels of a scene: `audible` and `visible` are (C, seconds) bool, rows in the order of `CLASS_NAMES`.

    Facts are in the order of their start, then of their name. Things that never sound have no row, but a `SeenFact`.
    """

    seconds: int
    audible: npt.NDArray[np.bool_]
    visible: npt.NDArray[np.bool_]
    seen: tuple[SeenFact, ...]
    heard: tuple[HeardFact, ...]
    both: tuple[BothFact, ...]

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain JSON values; the tables follow from them."""
        return {kind: [asdict(fact) for fact in getattr(self, kind)] for kind in ("seen", "heard", "both")}


def label(scene: Scene) -> SceneLabels:
    """Everything that is true of the scene."""
    seen = [_seen_fact(actor, actor.seen) for actor in scene.actors if actor.seen]
    heard = [_heard_fact(actor, actor.heard) for actor in scene.actors if actor.heard]
    both = [BothFact(actor.name, span.start_s, span.end_s) for actor in scene.actors if (span := _together(actor))]
    return SceneLabels(
        seconds=scene.seconds,
        audible=_table(scene, [(actor.name, actor.heard) for actor in scene.actors]),
        visible=_table(scene, [(actor.name, actor.seen) for actor in scene.actors if actor.can_sound]),
        seen=tuple(sorted(seen, key=_order)),
        heard=tuple(sorted(heard, key=_order)),
        both=tuple(sorted(both, key=_order)),
    )


def boxes(scene: Scene, ids: npt.NDArray[np.uint8]) -> tuple[SeenBox, ...]:
    """The boxes of what is visible: `ids` is (seconds, H, W), second k drawn at time k, 0 where there is background.

    A drawing of which less than `MIN_BOX_SHARE` of the frame shows has no box in that second.
    """
    found = []
    for second, frame in enumerate(ids):
        for number, (actor, _) in enumerate(scene.figures):
            corners = _corners(frame == number + 1)
            if corners is not None:
                found.append(SeenBox(actor.name, second, number, *corners))
    return tuple(found)


def level_of(level_db: float) -> Level:
    """The word for a level: loud near 0 dB, medium near -6 dB, soft near -12 dB."""
    return "loud" if level_db > -3 else "medium" if level_db > -9 else "soft"


def _seen_fact(actor: Actor, span: Span) -> SeenFact:
    return SeenFact(
        name=actor.name,
        start_s=span.start_s,
        end_s=span.end_s,
        place=_place(actor),
        count=len(actor.figures),
        can_sound=actor.can_sound,
        sounding=actor.heard is not None,
    )


def _heard_fact(actor: Actor, span: Span) -> HeardFact:
    return HeardFact(
        name=actor.name,
        start_s=span.start_s,
        end_s=span.end_s,
        level=level_of(actor.level_db),
        level_db=actor.level_db,
        place=_place(actor),
        count=len(actor.figures),
    )


def _place(actor: Actor) -> Place:
    columns = {figure.column for figure in actor.figures}
    if not columns:
        return "off screen"
    return columns.pop() if len(columns) == 1 else "several"


def _together(actor: Actor) -> Span | None:
    """The seconds in which an actor is seen and heard; None if there are none."""
    if actor.seen is None or actor.heard is None:
        return None
    start, end = max(actor.seen.start_s, actor.heard.start_s), min(actor.seen.end_s, actor.heard.end_s)
    return Span(start, end) if start < end else None


def _order(fact: SeenFact | HeardFact | BothFact) -> tuple[int, str]:
    return fact.start_s, fact.name


def _table(scene: Scene, spans: Sequence[tuple[str, Span | None]]) -> npt.NDArray[np.bool_]:
    table = np.zeros((len(CLASS_NAMES), scene.seconds), bool)
    for name, span in spans:
        if span is not None:
            table[CLASS_INDEX[name], span.start_s : span.end_s] = True
    return table


def _corners(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """x0, y0, x1, y1 of the true pixels in shares of the frame; None if too few are true."""
    if mask.mean() < MIN_BOX_SHARE:
        return None
    height, width = mask.shape
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    left, right = int(columns[0]), int(columns[-1]) + 1
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    return left / width, top / height, right / width, bottom / height
