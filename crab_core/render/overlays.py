"""Maps over pictures and spectrograms, as pictures. Pure functions of arrays; nothing is read or written.

Letters: h, w pixels; F frequencies, L spectrogram frames.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.render.colours import rgb

if TYPE_CHECKING:
    from collections.abc import Sequence

    Floats = npt.NDArray[np.float32]

Picture = npt.NDArray[np.uint8]
STRENGTH = 0.85  # how much of a pixel the strongest place of a map takes
WINDOW, HOP, BANDS = 400, 160, 128  # samples of 16 kHz sound; bands in a shown spectrogram
RANGE_DB = 70.0


def overlay(picture: Picture, map_: Floats, highest: float, colour: str) -> Picture:
    """A map (rows, columns) in one colour over a picture (h, w, 3) turned gray.

    `highest` is the value of the full colour: the same for all maps that are compared.
    """
    height, width = picture.shape[:2]
    scaled = np.clip(map_ / highest, 0, 1) if highest > 0 else np.zeros_like(map_)
    weight = cv2.resize(scaled.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
    gray = picture.astype(np.float32).mean(-1, keepdims=True)
    tint = np.array(rgb(colour), np.float32)
    painted: Picture = np.rint(gray + (tint - gray) * weight * STRENGTH).astype(np.uint8)
    return painted


def spectrogram(parts: Sequence[Floats]) -> Floats:
    """Loudness (F, L) in [0, 1] of 16 kHz waveforms one after another, low frequencies first, on the mel scale.

    The loudest point of all parts is 1, silence is 0.
    """
    decibels = np.concatenate([_decibels(part) for part in parts], axis=1)
    loud: Floats = np.clip((decibels - decibels.max()) / RANGE_DB + 1, 0, 1).astype(np.float32)
    return loud if any(np.any(part) for part in parts) else np.zeros_like(loud)


def sound_picture(waveform: Floats, windows_s: Sequence[Sequence[float]], height_px: int = 128) -> Picture:
    """The spectrogram of sound windows laid end to end as dark on light, low frequencies at the bottom: (h, w, 3)."""
    loud = spectrogram(_parts(waveform, windows_s))[::-1]
    picture = cv2.resize(loud, (loud.shape[1], height_px), interpolation=cv2.INTER_AREA)
    gray: Picture = np.repeat(np.rint(255 - 235 * picture).astype(np.uint8)[..., None], 3, axis=2)
    return gray


def sound_overlay(picture: Picture, maps: Floats, highest: float, colour: str) -> Picture:
    """Maps (S, rows, columns) of the windows of a `sound_picture`, each over its own stretch."""
    edges = np.linspace(0, picture.shape[1], len(maps) + 1).round().astype(int)
    stretches = [
        overlay(picture[:, start:end], np.ascontiguousarray(map_[::-1]), highest, colour)
        for start, end, map_ in zip(edges, edges[1:], maps, strict=False)
    ]
    return np.concatenate(stretches, axis=1)


def strip(pictures: Sequence[Picture], gap_px: int = 4) -> Picture:
    """Pictures of one size side by side on white."""
    gap = np.full((pictures[0].shape[0], gap_px, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.concatenate(parts, axis=1)


def encoded(picture: Picture, suffix: str = ".png", quality: int = 95) -> bytes:
    """An RGB picture as a PNG (`.png`) or JPEG (`.jpg`) file; `quality`, up to 100, is that of a JPEG."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix == ".jpg" else []
    _, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), settings)
    return bytes(data)


def data_uri(picture: Picture, suffix: str = ".jpg", quality: int = 95) -> str:
    """An RGB picture as text that stands in a page instead of a file."""
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(encoded(picture, suffix, quality)).decode()}"


def _parts(waveform: Floats, windows_s: Sequence[Sequence[float]]) -> list[Floats]:
    """The windows' samples; equal parts of the waveform, as windows of one clip are equally long."""
    return [part for part in np.array_split(waveform, max(1, len(windows_s)))]


def _decibels(waveform: Floats) -> Floats:
    """(F, L) of one waveform."""
    padded = np.pad(waveform, (0, max(0, WINDOW - len(waveform)))).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]  # (L, 400)
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), 512)) ** 2  # (L, 257)
    decibels: Floats = 10 * np.log10(power[:, _mel_points(power.shape[1])].T + 1e-10)
    return decibels


def _mel_points(points: int) -> npt.NDArray[np.int64]:
    """The spectrum point of each shown band."""
    top = 2595 * np.log10(1 + 8000 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, BANDS) / 2595) - 1)
    return np.clip(np.rint(hertz / 8000 * (points - 1)), 0, points - 1).astype(np.int64)
