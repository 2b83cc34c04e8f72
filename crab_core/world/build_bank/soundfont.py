"""Single notes played by a General MIDI sound font through fluidsynth.

All notes of a font are laid in one MIDI file, each in a slot of its own, because loading a font is dear.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crab_core.errors import ResourceError
from crab_core.world.build_bank.waves import Wave, resample

RENDER_RATE_HZ = (
    48_000  # fluidsynth does not filter when it plays below a sample's own rate: render high, then resample
)
TICKS_PER_S = 960  # 480 ticks a quarter note at the default 120 beats a minute
DRUM_CHANNEL = 9
GAP_S = 0.25


@dataclass(frozen=True, slots=True)
class Note:
    """One key of a program (None: of the drum kit), held for `hold_s` in a slot of `length_s`."""

    program: int | None
    key: int
    velocity: int
    hold_s: float
    length_s: float


def play(font: Path, notes: Sequence[Note]) -> list[Wave]:
    """The notes as float32 waves at 16 kHz, each `length_s` long, dry (no reverb, no chorus).

    Raises ResourceError if fluidsynth is not installed or fails.
    """
    starts = _starts(notes)
    mixed = _render(font, _midi(notes, starts))
    waves = []
    for note, start in zip(notes, starts, strict=True):
        first = round(start * RENDER_RATE_HZ)
        waves.append(resample(mixed[first : first + round(note.length_s * RENDER_RATE_HZ)], RENDER_RATE_HZ))
    return waves


def _starts(notes: Sequence[Note]) -> list[float]:
    ends = np.cumsum([0.0] + [note.length_s + GAP_S for note in notes])
    return [float(end) for end in ends[:-1]]


def _midi(notes: Sequence[Note], starts: Sequence[float]) -> bytes:
    events: list[tuple[int, bytes]] = []
    for note, start in zip(notes, starts, strict=True):
        channel = DRUM_CHANNEL if note.program is None else 0
        on, off = round(start * TICKS_PER_S), round((start + note.hold_s) * TICKS_PER_S)
        quiet = round((start + note.length_s + GAP_S / 2) * TICKS_PER_S)
        if note.program is not None:
            events.append((on, bytes([0xC0 | channel, note.program])))
        events.append((on, bytes([0x90 | channel, note.key, note.velocity])))
        events.append((off, bytes([0x80 | channel, note.key, 0])))
        events.append((quiet, bytes([0xB0 | channel, 120, 0])))  # 120: all sound off
    events.sort(key=lambda event: event[0])  # stable: a program change stays before its note
    track, last = bytearray(), 0
    for tick, message in events:
        track += _variable_length(tick - last) + message
        last = tick
    track += _variable_length(TICKS_PER_S) + b"\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)


def _variable_length(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


def _render(font: Path, midi: bytes) -> Wave:
    with tempfile.TemporaryDirectory() as folder:
        score, raw = Path(folder, "notes.mid"), Path(folder, "notes.raw")
        score.write_bytes(midi)
        options = ["-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "0.7", "-r", str(RENDER_RATE_HZ)]
        output = ["-T", "raw", "-O", "s16", "-E", "little", "-F", str(raw)]
        try:
            subprocess.run(["fluidsynth", *options, *output, str(font), str(score)], check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as err:
            raise ResourceError(f"fluidsynth could not play '{font.name}'", hint="Install fluidsynth >= 2.3.") from err
        stereo = np.fromfile(raw, dtype="<i2").reshape(-1, 2)
    mono: Wave = stereo.astype(np.float32).mean(axis=1) / 32_768
    return mono
