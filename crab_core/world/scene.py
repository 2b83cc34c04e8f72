"""Scenes by number: (split, seed, index) and a bank give one scene, always the same, in any order.

`sample_scene("val", 17, bank=bank)` needs no scene before it. Splits have their own random streams and cannot collide.
What the labels need holds by construction: everybody stands in a cell of a 3 x 2 grid of his own, so that left, middle
and right are never in doubt; sounding things are 6 dB apart; a drawing covers at least `MIN_SHARE` of the frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from crab_core.errors import UsageError
from crab_core.world.classes import SILENT, SOUNDING
from crab_core.world.spec import (
    COLUMNS,
    Acoustics,
    Actor,
    Backdrop,
    Column,
    Figure,
    Scene,
    SceneKind,
    Span,
    Split,
)

if TYPE_CHECKING:
    from crab_core.world.bank import Bank

__all__ = ["BACKDROPS", "SPLITS", "VERSION", "Scene", "Span", "fingerprint", "sample_scene"]

VERSION = "1"  # raised with every change that alters a scene, its picture, its sound or its labels
SPLITS: Mapping[str, int] = MappingProxyType({"train": 1, "val": 2, "test": 3, "demo": 4, "geometry": 5})
BACKDROPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "usual": ("gradient", "clouds", "stripes", "blobs", "room", "checker", "plain"),
        "geometry": ("rings", "bricks", "fractal"),
    }
)
LEVELS_DB = (0.0, -6.0, -12.0)
LEVEL_JITTER_DB = 1.0
MIN_SPAN_S = 2
MIN_SHARE = 0.02  # of the frame, before anything in front hides a part of it
MAX_FIGURES = 5
SIZES = (0.22, 0.40)


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who comes: a name, whether he can sound, and when he is seen and heard."""

    name: str
    can_sound: bool
    seen: Span | None
    heard: Span | None
    doubled: bool = False


def fingerprint(bank: Bank) -> str:
    """16 hexadecimal digits that change with the version, the classes or the bank; kept beside trained weights."""
    names = ",".join(one.name for one in (*SOUNDING, *SILENT))
    return hashlib.sha256(f"world {VERSION} {names} {bank.fingerprint}".encode()).hexdigest()[:16]


def sample_scene(
    split: str, index: int, *, seed: int = 0, bank: Bank, seconds: int = 10, kind: SceneKind | None = None
) -> Scene:
    """Scene number `index` of a split: 35 % are single-event ("ave") scenes unless `kind` says which.

    Raises UsageError for an unknown split, a negative number or less than 4 seconds.
    """
    name = _checked(split, index, seed, seconds)
    rng = np.random.default_rng([SPLITS[name], seed, index])
    chosen: SceneKind = "ave" if rng.random() < 0.35 else "multi"
    chosen = kind or chosen
    cast = _ave_cast(rng, seconds) if chosen == "ave" else _multi_cast(rng, seconds)
    odd = name == "geometry"
    kinds = BACKDROPS["geometry" if odd else "usual"]
    return Scene(
        split=name,
        seed=seed,
        index=index,
        kind=chosen,
        seconds=seconds,
        font=_pick(rng, bank.fonts),
        backdrop=Backdrop(_pick(rng, kinds), _seed(rng)),
        acoustics=_acoustics(rng),
        actors=_actors(rng, cast, bank, odd=odd),
    )


def _checked(split: str, index: int, seed: int, seconds: int) -> Split:
    if split not in SPLITS:
        raise UsageError(f"no split is called '{split}'", hint=f"Every split: {', '.join(SPLITS)}.")
    if index < 0 or seed < 0:
        raise UsageError(f"a scene's index and seed must not be negative, got '{index}' and '{seed}'")
    if seconds < 2 * MIN_SPAN_S:
        raise UsageError(f"a scene lasts at least {2 * MIN_SPAN_S} seconds, got '{seconds}'")
    return split  # type: ignore[return-value]  # a key of SPLITS is a Split


def _span(rng: np.random.Generator, seconds: int, whole: float) -> Span:
    """The whole clip with probability `whole`, else `MIN_SPAN_S` to `seconds - 1` seconds of it."""
    if rng.random() < whole:
        return Span(0, seconds)
    length = int(rng.integers(MIN_SPAN_S, seconds))
    start = int(rng.integers(0, seconds - length + 1))
    return Span(start, start + length)


def _ave_cast(rng: np.random.Generator, seconds: int) -> list[_Cast]:
    """One class that is seen and heard, together for at least `MIN_SPAN_S` seconds."""
    name = SOUNDING[int(rng.integers(len(SOUNDING)))].name
    while True:
        seen, heard = _span(rng, seconds, 0.5), _span(rng, seconds, 0.2)
        if min(seen.end_s, heard.end_s) - max(seen.start_s, heard.start_s) >= MIN_SPAN_S:
            break
    doubled = bool(rng.random() < 0.12)
    return [_Cast(name, True, seen, heard, doubled), *_distractors(rng, seconds, (0.6, 0.3, 0.1))]


def _multi_cast(rng: np.random.Generator, seconds: int) -> list[_Cast]:
    """One to three sounding classes, each seen and heard, only seen or only heard, and distractors."""
    count = 1 + int(rng.choice(3, p=(0.2, 0.45, 0.35)))
    cast = []
    for number in rng.permutation(len(SOUNDING))[:count]:
        mode = ("av", "silent", "unseen")[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
        seen = None if mode == "unseen" else _span(rng, seconds, 0.5)
        heard = None if mode == "silent" else _span(rng, seconds, 0.2)
        doubled = bool(rng.random() < 0.12) and seen is not None
        cast.append(_Cast(SOUNDING[int(number)].name, True, seen, heard, doubled))
    return cast + _distractors(rng, seconds, (0.5, 0.35, 0.15))


def _distractors(rng: np.random.Generator, seconds: int, shares: Sequence[float]) -> list[_Cast]:
    """None, one or two different things that never sound."""
    count = int(rng.choice(3, p=shares))
    names = [SILENT[int(number)].name for number in rng.permutation(len(SILENT))[:count]]
    return [_Cast(name, False, _span(rng, seconds, 0.5), None, bool(rng.random() < 0.12)) for name in names]


def _actors(rng: np.random.Generator, cast: Sequence[_Cast], bank: Bank, *, odd: bool) -> tuple[Actor, ...]:
    cells = [int(cell) for cell in rng.permutation(6)]
    levels = [LEVELS_DB[int(number)] for number in rng.permutation(len(LEVELS_DB))]
    style, mixed = _pick(rng, bank.styles), bool(rng.random() < 0.2)
    seats = _seats(cast, cells)
    taken = {cell for own in seats for cell in own}
    actors = []
    for number, (one, own) in enumerate(zip(cast, seats, strict=True)):
        look = _pick(rng, bank.styles) if mixed else style
        sound_seed = _seed(rng)
        level = levels[number] + float(rng.uniform(-LEVEL_JITTER_DB, LEVEL_JITTER_DB)) if one.can_sound else 0.0
        figures = tuple(_figure(rng, bank, look, one.name, cell, taken, odd=odd) for cell in own)
        actors.append(Actor(one.name, one.can_sound, one.seen, one.heard, _short(level), sound_seed, figures))
    return tuple(actors)


def _seats(cast: Sequence[_Cast], cells: Sequence[int]) -> list[tuple[int, ...]]:
    """The cells of each: none if never seen, two if doubled and there is room for it."""
    free = list(cells[:MAX_FIGURES])
    waiting = sum(one.seen is not None for one in cast)
    seats: list[tuple[int, ...]] = []
    for one in cast:
        if one.seen is None:
            seats.append(())
            continue
        waiting -= 1
        wanted = 2 if one.doubled and len(free) - waiting >= 2 else 1
        seats.append(tuple(free.pop(0) for _ in range(wanted)))
    return seats


def _figure(
    rng: np.random.Generator, bank: Bank, style: str, name: str, cell: int, taken: set[int], *, odd: bool
) -> Figure:
    sprites = bank.sprites(style, name)
    variant = int(rng.integers(len(sprites)))
    column, row = cell % 3, cell // 3
    crowded = any(near in taken and near // 3 == row for near in (cell - 1, cell + 1))
    size = _size(rng, float(np.mean(sprites[variant][..., 3])) / 255, crowded=crowded)
    side = 1 if rng.random() < 0.5 else -1
    angle = side * rng.uniform(32, 60) if odd else rng.uniform(-25, 25)
    hue = side * int(rng.integers(16, 28)) if odd else int(rng.integers(-10, 11))
    name_of_column: Column = COLUMNS[column]
    return Figure(
        style=style,
        variant=variant,
        column=name_of_column,
        x=_short((column + 0.5) / 3 + rng.uniform(-0.03, 0.03)),
        y=_short((row + 0.5) / 2 + rng.uniform(-0.05, 0.05)),
        size=_short(size),
        angle_deg=_short(angle),
        flipped=bool(rng.random() < 0.5),
        hue=hue,
        gain=_short(rng.uniform(0.8, 1.15)),
        sway_x=_short(rng.uniform(0, 0.025)),
        sway_y=_short(rng.uniform(0, 0.04)),
        sway_hz=_short(rng.uniform(0.03, 0.3)),
        phase=_short(rng.uniform(0, 2 * np.pi)),
        wobble_deg=_short(rng.uniform(0, 8)),
    )


def _size(rng: np.random.Generator, filled: float, *, crowded: bool) -> float:
    """The side of the drawing's square, wide enough that its `filled` share covers `MIN_SHARE` of the frame."""
    wanted = rng.uniform(*SIZES)
    if crowded:
        wanted = min(wanted, 0.34)
    return float(min(max(wanted, np.sqrt(MIN_SHARE / max(filled, 1e-3))), SIZES[1]))


def _acoustics(rng: np.random.Generator) -> Acoustics:
    wet = rng.random() < 0.6
    return Acoustics(
        reverb_s=_short(rng.uniform(0.08, 0.45)),
        reverb_mix=_short(rng.uniform(0.05, 0.35)) if wet else 0.0,
        tilt_db=_short(rng.uniform(-6, 6)),
        peak_hz=_short(np.exp(rng.uniform(np.log(150), np.log(5000)))),
        peak_db=_short(rng.uniform(-6, 6)),
        noise=("white", "pink")[int(rng.integers(2))],
        noise_db=_short(rng.uniform(-55, -32)),
        gain_db=_short(rng.uniform(-1.5, 1.5)),
        seed=_seed(rng),
    )


def _pick(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def _short(value: float) -> float:
    return round(float(value), 4)
