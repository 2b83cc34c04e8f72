"""Instruments modelled by arithmetic: a sound font of our own, unlike any recording.

Every model takes a `Dial` and a pitch and returns one sound of NOTE_S or HIT_S seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from crab_core.world.build_bank.tones import (
    Curve,
    Dial,
    band,
    float32,
    phase_of,
    throat,
    time_of,
    unit,
    wander,
)
from crab_core.world.build_bank.waves import Wave, samples

NOTE_S, HOLD_S = 0.75, 0.62
HIT_S = 0.45
NOTE, HIT = samples(NOTE_S), samples(HIT_S)
TOP_HZ = 7400
BELL_RATIOS = (0.5, 1.0, 1.19, 1.5, 2.0, 2.52, 3.01, 4.1, 5.43)


def guitar(dial: Dial, f0: float) -> Wave:
    """A plucked string with little stiffness and a warm body."""
    string = _string(
        dial, f0, stiffness=4e-5, pluck=dial(0.12, 0.3), tilt=dial(0.9, 1.3), fall=(dial(1.2, 2.5), dial(0.2, 0.6))
    )
    return float32(string + 0.02 * _strike(dial, 0.02, 2500))


def banjo(dial: Dial, f0: float) -> Wave:
    """A string plucked near its bridge over a skin: bright, and gone in a third of a second."""
    string = _string(
        dial, f0, stiffness=8e-5, pluck=dial(0.04, 0.1), tilt=dial(0.2, 0.5), fall=(dial(3, 6), dial(0.15, 0.4))
    )
    return float32(unit(string) + 0.15 * _strike(dial, 0.05, 1800))


def piano(dial: Dial, f0: float) -> Wave:
    """Three stiff strings, a little apart, struck by a hammer."""
    strings = [
        _string(
            dial,
            f0 * (1 + apart),
            stiffness=3e-4,
            pluck=0.13,
            tilt=dial(1.0, 1.5),
            fall=(dial(1.5, 2.5), dial(0.3, 0.5)),
        )
        for apart in (-dial(2e-4, 9e-4), 0.0, dial(2e-4, 9e-4))
    ]
    return float32(unit(sum(strings, np.zeros(NOTE))) + 0.06 * _strike(dial, 0.03, 900))


def bell(dial: Dial, f0: float) -> Wave:
    """Partials of cast metal, the high ones gone first."""
    time = time_of(NOTE)
    ring = np.zeros(NOTE)
    for index, ratio in enumerate(BELL_RATIOS):
        partial = f0 * ratio * dial(0.985, 1.015)
        if partial < TOP_HZ:
            loud = dial.rng.uniform(0.3, 1) / (1 + 0.25 * index)
            ring += loud * np.exp(-time * dial(1.5, 4) * (1 + 0.4 * index)) * np.sin(2 * np.pi * partial * time)
    return _ended(ring)


def violin(dial: Dial, f0: float) -> Wave:
    """A bowed string: a saw through the resonances of a body, with vibrato."""
    pitch = _vibrato(dial, f0, depth=dial(0.004, 0.011))
    body = throat(pitch, ((dial(270, 330), 120), (dial(450, 650), 200), (dial(2200, 3200), 1200)), floor=0.2)
    return _blown(dial, body, rise_s=dial(0.03, 0.11), breath=0.02, colour=(1500, 6000))


def trumpet(dial: Dial, f0: float) -> Wave:
    """Lips and brass: the louder it gets, the brighter."""
    pitch = _vibrato(dial, f0, depth=dial(0.0, 0.003))
    opening = np.clip(time_of(NOTE) / dial(0.03, 0.09), 0.2, 1)
    horn = throat(pitch, ((dial(1000, 1400) * opening, 700), (dial(2200, 2800) * opening, 900)), floor=0.08)
    return _blown(dial, horn, rise_s=dial(0.01, 0.04), breath=0.01, colour=(1000, 4000))


def saxophone(dial: Dial, f0: float) -> Wave:
    """A reed on a cone: full harmonics, breath and a little growl."""
    pitch = _vibrato(dial, f0, depth=dial(0.002, 0.007))
    reed = throat(pitch, ((dial(420, 620), 350), (dial(1100, 1700), 500), (dial(2600, 3400), 600)), floor=0.05)
    growl = 1 + dial(0.05, 0.25) * wander(dial, NOTE, 60)
    return _blown(dial, reed * growl, rise_s=dial(0.02, 0.06), breath=0.05, colour=(900, 5000))


def accordion(dial: Dial, f0: float) -> Wave:
    """Two or three free reeds, a little apart, so that they beat."""
    apart_hz = dial(1.5, 6.0)
    reeds = np.zeros(NOTE)
    for offset in (-apart_hz, 0.0, apart_hz):
        reeds += throat(np.full(NOTE, f0 + offset), ((dial(700, 1000), 900), (dial(2200, 3200), 1500)), floor=0.15)
    octave = throat(np.full(NOTE, f0 * 2), ((1500.0, 1500),), floor=0.1) * dial(0.0, 0.5)
    return _blown(dial, reeds + octave, rise_s=dial(0.03, 0.07), breath=0.0, colour=(500, 3000))


def flute(dial: Dial, f0: float) -> Wave:
    """An air jet: few harmonics, breath, and a loudness that sways."""
    phase = phase_of(_vibrato(dial, f0, depth=0.002))
    tube = np.sin(phase) + dial(0.15, 0.5) * np.sin(2 * phase) + dial(0.03, 0.15) * np.sin(3 * phase)
    sway = 1 + dial(0.05, 0.25) * np.sin(2 * np.pi * dial(4.5, 6) * time_of(NOTE))
    return _blown(dial, tube * sway, rise_s=dial(0.04, 0.1), breath=dial(0.05, 0.15), colour=(f0, min(6000, 3 * f0)))


def drum(dial: Dial, f0: float) -> Wave:
    """A skin whose pitch falls after the blow, with or without a rattle below it."""
    time = time_of(HIT)
    skin = np.sin(phase_of(f0 * (1 + dial(0.3, 1.2) * np.exp(-time * dial(25, 60))))) * np.exp(-time * dial(7, 16))
    second = np.sin(2 * np.pi * f0 * 1.59 * time) * np.exp(-time * dial(15, 30))
    rattle = dial.rng.choice([0.0, 0.7]) * unit(band(dial.noise(HIT), 1200, 6500)) * np.exp(-time * dial(12, 25))
    click = unit(band(dial.noise(HIT), 400, 5000)) * np.exp(-time * 200)
    return float32(skin + 0.4 * second + rattle + 0.4 * click)


def maracas(dial: Dial, f0: float) -> Wave:
    """Grains in a gourd: one or two quick bursts of high noise; the pitch is not used."""
    del f0
    time = time_of(HIT)
    grains = unit(band(dial.noise(HIT), dial(2500, 4000), 7500)) * (dial.noise(HIT) > 0.6)
    burst = np.exp(-(((time - dial(0.02, 0.05)) / dial(0.012, 0.03)) ** 2))
    echo = dial(0.1, 0.7) * np.exp(-(((time - dial(0.11, 0.2)) / dial(0.015, 0.03)) ** 2))
    return float32(grains * (burst + echo))


MODELS: Mapping[str, Callable[[Dial, float], Wave]] = {
    "guitar": guitar,
    "violin": violin,
    "trumpet": trumpet,
    "saxophone": saxophone,
    "piano": piano,
    "accordion": accordion,
    "banjo": banjo,
    "flute": flute,
    "bell": bell,
    "drum": drum,
    "maracas": maracas,
}


def model(name: str, keys: Sequence[int], dial: Dial) -> list[Wave]:
    """One sound of the instrument for each MIDI key."""
    return [MODELS[name](dial, 440.0 * 2 ** ((key - 69) / 12)) for key in keys]


def _string(dial: Dial, f0: float, *, stiffness: float, pluck: float, tilt: float, fall: tuple[float, float]) -> Curve:
    """A decaying string: `pluck` is the place along it, `fall` the decay (1/s) of all partials and more for each."""
    time = time_of(NOTE)
    sound = np.zeros(NOTE)
    for k in range(1, int(TOP_HZ / f0) + 1):
        partial = k * f0 * np.sqrt(1 + stiffness * k * k)
        loud = abs(np.sin(np.pi * k * pluck)) / k**tilt * dial.rng.uniform(0.7, 1.3)
        if partial < TOP_HZ:
            sound += loud * np.exp(-time * (fall[0] + fall[1] * k)) * np.sin(2 * np.pi * partial * time)
    return _ended(sound).astype(np.float64)


def _strike(dial: Dial, length_s: float, top_hz: float) -> Curve:
    return unit(band(dial.noise(NOTE), 80, top_hz)) * np.exp(-time_of(NOTE) / length_s * 3)


def _vibrato(dial: Dial, f0: float, *, depth: float) -> Curve:
    time = time_of(NOTE)
    late = np.clip(time / 0.3, 0, 1)  # players start straight
    return f0 * (1 + depth * late * np.sin(2 * np.pi * dial(4.8, 6.8) * time) + 0.001 * wander(dial, NOTE, 8))


def _blown(dial: Dial, tone: Curve, *, rise_s: float, breath: float, colour: tuple[float, float]) -> Wave:
    """The tone with an attack, a release and breath (or bow) noise of that band."""
    rise = np.clip(time_of(NOTE) / rise_s, 0, 1)
    return _ended((unit(tone) + breath * unit(band(dial.noise(NOTE), *colour))) * rise)


def _ended(sound: Curve) -> Wave:
    """Damped after HOLD_S."""
    return float32(sound * np.exp(-np.clip(time_of(len(sound)) - HOLD_S, 0, None) * 25))
