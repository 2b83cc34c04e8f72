"""A scene becomes pictures: frames and, pixel by pixel, which drawing is in front.

Second k is drawn at time k, its first moment, which is what the visible spans of the labels speak of. Letters: N times,
S side of the square frame in pixels. Callers that render in many processes call `cv2.setNumThreads(1)` themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.world.backdrop import Drift, paint
from crab_core.world.spec import Actor, Figure, Scene

if TYPE_CHECKING:
    from crab_core.world.bank import Bank

Pixels = npt.NDArray[np.uint8]

SPRITE_PX = 128
_SPRITES: dict[tuple[str, str, str, int], Pixels] = {}  # colours times alpha, decoded once a process


def render(scene: Scene, bank: Bank, size: int = 112, times: Sequence[float] | None = None) -> tuple[Pixels, Pixels]:
    """Frames (N, S, S, 3) RGB and instance ids (N, S, S): 0 is background, k + 1 is `scene.figures[k]`.

    Without `times`, one frame a second, each at the second's first moment.
    """
    moments = range(scene.seconds) if times is None else times
    drift = Drift(paint(scene.backdrop, size), size, scene.backdrop.seed)
    cast = [(actor, figure, _costume(figure, actor.name, bank, size)) for actor, figure in scene.figures]
    frames = np.empty((len(moments), size, size, 3), np.uint8)
    ids = np.zeros((len(moments), size, size), np.uint8)
    for number, time_s in enumerate(moments):
        frames[number] = drift.at(time_s)
        _draw(cast, time_s, frames[number], ids[number])
    return frames, ids


def render_frames(scene: Scene, bank: Bank, size: int = 112, times: Sequence[float] | None = None) -> Pixels:
    """The frames of `render`, (N, S, S, 3) uint8 RGB."""
    return render(scene, bank, size, times)[0]


def render_ids(scene: Scene, bank: Bank, size: int = 112, times: Sequence[float] | None = None) -> Pixels:
    """The instance ids of `render`, (N, S, S) uint8; who needs both calls `render`, which costs the same."""
    return render(scene, bank, size, times)[1]


def _draw(cast: Sequence[tuple[Actor, Figure, Pixels]], time_s: float, frame: Pixels, ids: Pixels) -> None:
    """Lay everybody who is seen at that time over the frame, in order, in place."""
    for number, (actor, figure, costume) in enumerate(cast):
        if actor.seen is not None and actor.seen.holds(time_s):
            _lay(figure, costume, time_s, frame, ids, number + 1)


def _lay(figure: Figure, costume: Pixels, time_s: float, frame: Pixels, ids: Pixels, instance: int) -> None:
    """Turn one drawing to its pose and lay it over the part of the frame that it touches."""
    size = frame.shape[0]
    x, y, angle = pose(figure, time_s)
    wide = figure.size * size
    reach = int(np.ceil(wide * 0.72)) + 1  # half the diagonal
    left, top = int(x * size) - reach, int(y * size) - reach
    middle = costume.shape[0] / 2
    turn = cv2.getRotationMatrix2D((middle, middle), angle, wide / costume.shape[0])
    turn[:, 2] += (x * size - left - middle, y * size - top - middle)
    laid = cv2.warpAffine(costume, turn, (2 * reach, 2 * reach), flags=cv2.INTER_LINEAR)
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + 2 * reach, size), min(top + 2 * reach, size)
    laid = laid[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = laid[..., 3]
    patch = frame[y0:y1, x0:x1]
    through = patch * ((255 - alpha).astype(np.float32) * np.float32(1 / 255))[..., None]
    patch[:] = cv2.add(laid[..., :3], through.astype(np.uint8))
    ids[y0:y1, x0:x1][alpha > 127] = instance


def pose(figure: Figure, time_s: float) -> tuple[float, float, float]:
    """Where a drawing's centre is (shares of the frame) and how far it is turned (degrees) at a time."""
    beat = 2 * np.pi * figure.sway_hz * time_s + figure.phase
    x = figure.x + figure.sway_x * np.sin(beat)
    y = figure.y + figure.sway_y * np.cos(beat)
    return float(x), float(y), float(figure.angle_deg + figure.wobble_deg * np.sin(1.7 * beat))


def _costume(figure: Figure, name: str, bank: Bank, size: int) -> Pixels:
    """The drawing at about the size that it has in the frame, flipped and tinted, colours times alpha."""
    sprite = _sprite(bank, figure.style, name, figure.variant)
    side = min(max(round(figure.size * size), 8), SPRITE_PX)
    small = cv2.resize(sprite, (side, side), interpolation=cv2.INTER_AREA)
    if figure.flipped:
        small = small[:, ::-1]
    alpha = small[..., 3:].astype(np.float32) / 255
    plain = np.clip(small[..., :3] / np.maximum(alpha, 1 / 255), 0, 255).astype(np.uint8)
    tinted = np.clip(_hue_shifted(plain, figure.hue).astype(np.float32) * figure.gain, 0, 255)
    return np.concatenate([(tinted * alpha).astype(np.uint8), small[..., 3:]], axis=-1)


def _hue_shifted(colours: Pixels, by: int) -> Pixels:
    """The colours with their hue turned by `by` of OpenCV's 180 steps."""
    hsv = cv2.cvtColor(np.ascontiguousarray(colours), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + by) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _sprite(bank: Bank, style: str, name: str, variant: int) -> Pixels:
    key = (bank.fingerprint, style, name, variant)
    if key not in _SPRITES:
        sprite = bank.sprites(style, name)[variant]
        alpha = sprite[..., 3:].astype(np.uint16)
        _SPRITES[key] = np.concatenate([(sprite[..., :3] * alpha // 255).astype(np.uint8), sprite[..., 3:]], axis=-1)
    return _SPRITES[key]
