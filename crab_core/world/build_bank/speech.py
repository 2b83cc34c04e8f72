"""Speech by espeak-ng: short sentences in several voices."""

from __future__ import annotations

import io
import subprocess
import wave
from collections.abc import Sequence

import numpy as np

from crab_core.errors import ResourceError
from crab_core.world.build_bank.synth import LENGTH
from crab_core.world.build_bank.tones import Dial
from crab_core.world.build_bank.waves import Wave, lay, resample, trim

SENTENCES = (
    "the market opens early and closes long before the rain begins to fall",
    "my sister carries seven lemons home along the narrow garden wall",
    "nobody remembers who painted the old boat blue and left it here",
    "when the lights go out we tell each other stories about the sea",
    "turn left behind the library and follow the road up to the mill",
    "the baker gives warm bread to everyone who wakes before the sun",
    "we counted eleven wooden bridges between the station and the lake",
    "bring a long rope a lantern and a little patience for the climb",
)


def speak(voices: Sequence[str], take: int, dial: Dial) -> Wave:
    """One loop of speech without a pause at its start; `take` picks the voice and the sentences.

    Raises ResourceError if espeak-ng is not installed or fails.
    """
    voice = voices[take % len(voices)]
    text = " ".join(SENTENCES[(take * 3 + offset) % len(SENTENCES)] for offset in (0, 1))
    speed, pitch = round(dial(140, 190)), round(dial(25, 75))
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    try:
        spoken = subprocess.run(command, check=True, capture_output=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as err:
        raise ResourceError(f"espeak-ng could not speak as '{voice}'", hint="Install espeak-ng >= 1.51.") from err
    return lay([(0, trim(_read(spoken)))], LENGTH)


def _read(riff: bytes) -> Wave:
    with wave.open(io.BytesIO(riff)) as sound:
        rate, frames = sound.getframerate(), sound.readframes(2**30)
    samples: Wave = np.frombuffer(frames, "<i2").astype(np.float32) / np.float32(32_768)
    return resample(samples, rate)
