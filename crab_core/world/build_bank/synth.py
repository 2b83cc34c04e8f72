"""Sounds made by arithmetic: animals, warnings, engines, crowds and water. Each function returns one loop.

Every free quantity of a sound is drawn through a `Dial`, so that two fonts never share a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from crab_core.types import SAMPLE_RATE_HZ
from crab_core.world.build_bank.tones import (
    Dial,
    band,
    float32,
    phase_of,
    smooth,
    throat,
    time_of,
    unit,
    wander,
)
from crab_core.world.build_bank.waves import Wave, lay, samples

LOOP_S = 3.0
SEAM_S = 0.15
LENGTH = samples(LOOP_S + SEAM_S)


def siren(dial: Dial) -> Wave:
    """A swept or two-tone horn."""
    time = time_of(LENGTH)
    low, high, rate = dial(450, 750), dial(1000, 1700), dial(0.35, 3.0)
    swing = np.sin(2 * np.pi * rate * time)
    between = (swing + 1) / 2 if dial.rng.random() < 0.6 else (swing > 0).astype(float)
    phase = phase_of(low + (high - low) * between)
    return float32(sum(np.sin(k * phase) / k ** dial(0.9, 1.5) for k in range(1, 5)))


def alarm(dial: Dial) -> Wave:
    """Groups of short high beeps."""
    time = time_of(LENGTH)
    period, beeps = dial(0.45, 0.95), int(dial.rng.integers(2, 5))
    slot = period / (2 * beeps + 2)
    place = time % period
    gate = (place < 2 * beeps * slot) & (place % (2 * slot) < slot)
    tone = np.sin(phase_of(np.full(LENGTH, dial(1800, 3300))))
    return float32((tone + dial(0.1, 0.8) * np.sign(tone)) * smooth(gate.astype(float), 0.002))


def dog(dial: Dial) -> Wave:
    """Barks: short falling growls with breath, in ones and twos."""
    pitch, rough = dial(230, 620), dial(0.3, 1.0)

    def bark() -> Wave:
        count = samples(dial(0.15, 0.28))
        course = np.linspace(0, 1, count)
        f0 = pitch * dial(0.93, 1.07) * (1.3 - 0.7 * course)
        call = throat(f0, ((dial(600, 900), 350), (dial(1300, 2000), 500)))
        return float32((call + rough * 0.4 * dial.noise(count)) * np.sin(np.pi * course) ** 0.5 * (1 - course))

    return _calls(dial, bark, (0.24, 0.34), rest=(0.32, 0.46), together=2)


def cat(dial: Dial) -> Wave:
    """Meows: a tone that rises and falls while its mouth opens and closes."""
    pitch = dial(430, 800)

    def meow() -> Wave:
        count = samples(dial(0.6, 0.85))
        course = np.linspace(0, 1, count)
        f0 = pitch * dial(0.93, 1.07) * (0.85 + 0.35 * np.sin(np.pi * course**0.7) - 0.15 * course)
        mouth = np.sin(np.pi * course)
        return float32(throat(f0, ((800 + 700 * mouth, 300), (2300 + 500 * mouth, 500))) * mouth**0.6)

    return _calls(dial, meow, (0.8, 1.05), rest=(0.9, 1.05), together=2)


def cow(dial: Dial) -> Wave:
    """Moos: long low calls that open and fall."""
    pitch = dial(95, 175)

    def moo() -> Wave:
        count = samples(dial(1.1, 1.4))
        course = np.linspace(0, 1, count)
        f0 = (
            pitch * dial(0.95, 1.05) * (0.8 + 0.35 * np.sin(np.pi * course**0.6)) * (1 + 0.01 * wander(dial, count, 12))
        )
        mouth = np.clip(course * 4, 0, 1)
        return float32(throat(f0, ((280 + 330 * mouth, 160), (900 + 200 * mouth, 250))) * np.sin(np.pi * course) ** 0.4)

    return _calls(dial, moo, (1.4, 1.6), rest=(1.4, 1.65), together=1)


def bee(dial: Dial) -> Wave:
    """A steady buzz that wanders in pitch and distance."""
    f0 = dial(170, 290) * (1 + dial(0.02, 0.06) * wander(dial, LENGTH, dial(2, 6)))
    buzz = throat(f0, ((dial(300, 500), 300), (dial(1200, 2200), 900)))
    near = 1 + 0.45 * wander(dial, LENGTH, dial(1, 3))
    return float32(buzz * np.clip(near, 0.35, None) * (1 + 0.3 * np.sin(phase_of(f0 / 2))))


def frog(dial: Dial) -> Wave:
    """Croaks: a tone chopped into fast pulses."""
    pitch, chop = dial(380, 900), dial(28, 62)

    def croak() -> Wave:
        count = samples(dial(0.26, 0.42))
        course = np.linspace(0, 1, count)
        tone = throat(pitch * (0.9 + 0.2 * course), ((pitch * 1.5, 500), (dial(1900, 2600), 500)))
        pulses = np.clip(np.sin(phase_of(np.full(count, chop))), 0, None) ** 2
        return float32(tone * pulses * np.sin(np.pi * course) ** 0.5)

    return _calls(dial, croak, (0.38, 0.5), rest=(0.5, 0.62), together=3)


def bird(dial: Dial) -> Wave:
    """Chirps: pure tones that jump up or down within a tenth of a second."""
    pitch = dial(2300, 5200)

    def chirp() -> Wave:
        count = samples(dial(0.06, 0.16))
        course = np.linspace(0, 1, count)
        bend = dial(0.1, 0.35) * dial.rng.choice([-1, 1])
        trill = 1 + dial(0.0, 0.05) * np.sin(2 * np.pi * dial(20, 45) * course * count / SAMPLE_RATE_HZ)
        return float32(np.sin(phase_of(pitch * (1 + bend * (course - 0.5)) * trill)) * np.sin(np.pi * course))

    return _calls(dial, chirp, (0.1, 0.2), rest=(0.25, 0.5), together=5)


def telephone(dial: Dial) -> Wave:
    """Rings: two close tones beaten by a clapper, with short rests."""
    time = time_of(LENGTH)
    low, clapper = dial(900, 1500), dial(14, 26)
    ring, rest = dial(0.8, 1.3), dial(0.25, 0.5)
    first, second = (np.sin(phase_of(np.full(LENGTH, low * ratio))) for ratio in (1.0, dial(1.18, 1.3)))
    hammer = np.sin(2 * np.pi * clapper * time)
    tones = first * (hammer > 0) + second * (hammer <= 0) + 0.3 * first * second
    return float32(tones * smooth(((time % (ring + rest)) < ring).astype(float), 0.01))


def helicopter(dial: Dial) -> Wave:
    """Rotor blades: low noise beaten ten to twenty times a second, over a turbine's whine."""
    beat = 0.5 + 0.5 * np.sin(phase_of(np.full(LENGTH, dial(9, 19))))
    thump = band(dial.noise(LENGTH), 40, dial(350, 900)) * beat ** dial(1.5, 4)
    wash = band(dial.noise(LENGTH), 300, dial(1800, 3500)) * (0.3 + 0.7 * beat)
    whine = np.sin(phase_of(np.full(LENGTH, dial(500, 1100))))
    return float32(unit(thump) + dial(0.2, 0.5) * unit(wash) + dial(0.02, 0.12) * whine)


def applause(dial: Dial) -> Wave:
    """Many hands: several hundred short bursts of noise, each pair of hands with its own colour."""
    claps = []
    for _ in range(int(dial(150, 420))):
        count = samples(dial(0.008, 0.02))
        centre = float(dial.rng.uniform(900, 3200))
        burst = dial.noise(count) * np.exp(-np.linspace(0, 6, count)) * dial.rng.uniform(0.2, 1)
        tone = np.sin(2 * np.pi * centre * time_of(count) + dial.rng.uniform(0, 6))
        claps.append((int(dial.rng.integers(0, LENGTH)), float32(burst * (0.5 + tone))))
    return float32(band(lay(claps, LENGTH).astype(np.float64), 350, dial(4000, 7000)))


def wave(dial: Dial) -> Wave:
    """Surf: noise that swells, breaks and runs back."""
    time = time_of(LENGTH)
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * time / LOOP_S * int(dial.rng.integers(1, 3)) + dial(0, 6))
    deep = unit(band(dial.noise(LENGTH), 60, dial(500, 900)))
    foam = unit(band(dial.noise(LENGTH), 800, dial(4000, 7000)))
    return float32(deep * (0.35 + 0.65 * swell) + dial(0.5, 1.1) * foam * (0.1 + 0.9 * swell**2))


RECIPES: Mapping[str, Callable[[Dial], Wave]] = {
    "siren": siren,
    "alarm": alarm,
    "dog": dog,
    "cat": cat,
    "cow": cow,
    "bee": bee,
    "frog": frog,
    "bird": bird,
    "telephone": telephone,
    "helicopter": helicopter,
    "applause": applause,
    "wave": wave,
}


def _calls(
    dial: Dial, call: Callable[[], Wave], step_s: tuple[float, float], *, rest: tuple[float, float], together: int
) -> Wave:
    """Calls in groups of up to `together`: `step_s` apart within a group, `rest` before the next group."""
    pieces: list[tuple[int, Wave]] = []
    at = float(dial.rng.uniform(0, 0.1))
    while at < LOOP_S - 0.1:
        group = int(dial.rng.integers(1, together + 1))
        for index in range(group):
            pieces.append((samples(at), call()))
            at += dial(*(rest if index == group - 1 else step_s))
    return lay(pieces, LENGTH)
