"""How each class sounds: notes and hits of a sound font, effects that are triggered again and again, speech, synthesis.

A font's one-shot effects (a bird call is over after half a second) are laid several times into one loop, and half of
the loops of such a class are synthesised, because General MIDI fonts often share one recording of an effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crab_core.types import SAMPLE_RATE_HZ
from crab_core.world.build_bank.soundfont import Note, play
from crab_core.world.build_bank.sources import Sounds
from crab_core.world.build_bank.speech import speak
from crab_core.world.build_bank.synth import LENGTH, LOOP_S, RECIPES, Dial
from crab_core.world.build_bank.waves import Wave, close_loop, fade, lay, level, resample, samples, trim
from crab_core.world.classes import SOUNDING

NOTE_S, NOTE_HOLD_S = 0.8, 0.6
HIT_S, HIT_HOLD_S = 0.5, 0.3
EFFECT_S = 6.0
LOUD, SOFT = 105, 70


@dataclass(frozen=True, slots=True)
class Played:
    """Notes of one or more programs (None: the drum kit), each at all keys."""

    programs: tuple[int | None, ...]
    keys: Sequence[int]


@dataclass(frozen=True, slots=True)
class Effect:
    """A program that makes a noise: what to skip of its start, and after how long it is triggered again.

    `again_s` None: it goes on by itself.
    """

    program: int
    skip_s: float
    again_s: tuple[float, float] | None = None


PLAYED: Mapping[str, Played] = {
    "guitar": Played((24, 25), range(45, 77, 4)),
    "violin": Played((40,), range(57, 89, 3)),
    "trumpet": Played((56,), range(55, 83, 3)),
    "saxophone": Played((65, 66), range(48, 80, 4)),
    "piano": Played((0, 1), range(40, 84, 6)),
    "accordion": Played((21,), range(52, 82, 3)),
    "banjo": Played((105,), range(50, 80, 3)),
    "flute": Played((73,), range(62, 95, 3)),
    "bell": Played((14, 9), range(60, 90, 4)),
    "drum": Played((None,), (35, 36, 38, 40, 41, 43, 45, 47, 48, 50, 62, 64)),
    "maracas": Played((None,), (70, 82, 69)),
}
EFFECTS: Mapping[str, Effect] = {
    "bird": Effect(123, 0.0, (0.3, 0.6)),
    "telephone": Effect(124, 0.0, (0.5, 0.75)),
    "helicopter": Effect(125, 2.4),
    "applause": Effect(126, 0.6),
    "wave": Effect(122, 0.3),
}
EFFECT_TAKES = 3
SYNTH_TAKES = 3
SYNTH_ONLY_TAKES = 5
SPEECH_TAKES = 8


def sounds(font: Sounds) -> dict[str, list[Wave]]:
    """For each sounding class its waves (S,) float32 at 16 kHz, all at one loudness.

    Raises ResourceError if fluidsynth or espeak-ng fails.
    """
    notes = {name: _notes(font, name) for name in (*PLAYED, *EFFECTS)}
    heard = iter(play(font.path, [note for each in notes.values() for note in each]))
    played = {name: [next(heard) for _ in each] for name, each in notes.items()}
    return {
        one.name: [level(wave) for wave in _takes(font, index, one.name, played.get(one.name, []))]
        for index, one in enumerate(SOUNDING)
    }


def _notes(font: Sounds, name: str) -> list[Note]:
    if name in EFFECTS:
        return [Note(EFFECTS[name].program, key, LOUD, EFFECT_S - 0.1, EFFECT_S) for key in font.effect_keys]
    hold_s, length_s = (HIT_HOLD_S, HIT_S) if PLAYED[name].programs == (None,) else (NOTE_HOLD_S, NOTE_S)
    velocities = (LOUD, SOFT, 88, 55) if name == "maracas" else (LOUD,)
    return [
        Note(program, key, velocity if index % 2 == 0 or name == "maracas" else SOFT, hold_s, length_s)
        for program in PLAYED[name].programs
        for velocity in velocities
        for index, key in enumerate(PLAYED[name].keys)
    ]


def _takes(font: Sounds, index: int, name: str, heard: list[Wave]) -> list[Wave]:
    """The class's waves before levelling; `heard` is what the sound font played for it."""
    if name in PLAYED:
        return [fade(wave, in_s=0.0, out_s=0.08) for wave in heard]
    made: list[Wave] = []
    dials = [Dial((font.seed, index, take), font.part) for take in range(SPEECH_TAKES + EFFECT_TAKES)]
    if name in EFFECTS:
        made += [_effect(EFFECTS[name], heard, dials.pop()) for _ in range(EFFECT_TAKES)]
    if name in RECIPES:
        made += [RECIPES[name](dials.pop()) for _ in range(SYNTH_TAKES if name in EFFECTS else SYNTH_ONLY_TAKES)]
    if name == "person":
        made += [speak(font.voices, take, dials.pop()) for take in range(SPEECH_TAKES)]
    return [close_loop(wave, samples(LOOP_S)) for wave in made]


def _effect(effect: Effect, heard: list[Wave], dial: Dial) -> Wave:
    """One loop of a font's effect, played a little faster or slower than recorded."""
    rate = round(SAMPLE_RATE_HZ * dial(0.85, 1.2))
    shots = [resample(wave[samples(effect.skip_s) :], rate) for wave in heard]
    if effect.again_s is None:
        return lay([(0, shots[int(dial.rng.integers(len(shots)))])], LENGTH)
    pieces: list[tuple[int, Wave]] = []
    at = 0.0
    while at < LOOP_S:
        pieces.append((samples(at), trim(shots[int(dial.rng.integers(len(shots)))])))
        at += dial(*effect.again_s)
    return lay(pieces, LENGTH)
