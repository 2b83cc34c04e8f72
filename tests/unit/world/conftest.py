"""A small bank made of discs and tones: the same interface as the shipped one, without its files."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from crab_core.world.classes import SILENT, SOUNDING

RATE_HZ = 16_000


class FakeBank:
    """Two styles of coloured shapes, two fonts of tones; every class has two drawings and two sounds."""

    styles = ("flat", "ring")
    fonts = ("low", "high")
    fingerprint = "fake-1"

    def __init__(self) -> None:
        names = [one.name for one in (*SOUNDING, *SILENT)]
        self._number = {name: number for number, name in enumerate(names)}

    def sprites(self, style: str, name: str) -> list[npt.NDArray[np.uint8]]:
        """Two discs or rings with a colour of the class, (128, 128, 4)."""
        number = self._number[name]
        thick = -1 if style == "flat" else 40
        drawn = []
        for radius in (40, 60):
            sprite = np.zeros((128, 128, 4), np.uint8)
            colour = (40 + 7 * number, 255 - 8 * number, (90 * number) % 256, 255)
            cv2.circle(sprite, (64, 64), radius - max(thick, 0) // 2, colour, thick)
            drawn.append(sprite)
        return drawn

    def sounds(self, font: str, name: str) -> list[npt.NDArray[np.float32]]:
        """A short and a long tone with a pitch of the class."""
        pitch_hz = (220.0 if font == "low" else 330.0) * 2 ** (self._number[name] / 12)
        return [self._tone(pitch_hz, 0.6), self._tone(pitch_hz * 1.5, 1.2)]

    @staticmethod
    def _tone(pitch_hz: float, seconds: float) -> npt.NDArray[np.float32]:
        time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
        wave = np.sin(2 * np.pi * pitch_hz * time_s) * np.exp(-time_s)
        return wave.astype(np.float32)


@pytest.fixture(scope="session")
def fake_bank() -> FakeBank:
    return FakeBank()
