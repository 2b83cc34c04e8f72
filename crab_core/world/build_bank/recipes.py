"""How each class sounds: notes and hits of a sound font, effects that are triggered again and again, speech, synthesis.

A font's one-shot effects (a bird call is over after half a second) are laid several times into one loop, and half of
the loops of such a class are synthesised, because General MIDI fonts often share one recording of an effect: between
FluidR3 and MuseScore General the same notes correlate by 0.97 to 1.00 for all but violin, piano, flute and bell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crab_core.errors import InputError
from crab_core.types import SAMPLE_RATE_HZ
from crab_core.world.build_bank.modelled import HIT_S, HOLD_S, NOTE_S, model
from crab_core.world.build_bank.soundfont import Note, play
from crab_core.world.build_bank.sources import Sounds
from crab_core.world.build_bank.speech import speak
from crab_core.world.build_bank.synth import LENGTH, LOOP_S, RECIPES
from crab_core.world.build_bank.tones import Dial
from crab_core.world.build_bank.waves import (
    Wave,
    close_loop,
    fade,
    is_audible_throughout,
    lay,
    level,
    resample,
    samples,
    trim,
)
from crab_core.world.classes import SOUNDING

EFFECT_S = 6.0
HIT_HOLD_S = 0.3
LOUD, SOFT = 105, 70


@dataclass(frozen=True, slots=True)
class Played:
    """Notes of one or more programs (none: the drum kit), each at all keys.

    The `other` ones are for a font that shares the recordings of the first ones with another font. `rates`: how often
    each is used, each time played faster or slower.
    """

    programs: tuple[int, ...]
    keys: Sequence[int]
    other_programs: tuple[int, ...]
    other_keys: Sequence[int]
    rates: int = 1


@dataclass(frozen=True, slots=True)
class Effect:
    """A program that makes a noise: what to skip of its start, and after how long it is triggered again.

    `again_s` None: it goes on by itself.
    """

    program: int
    skip_s: float
    again_s: tuple[float, float] | None = None


PLAYED: Mapping[str, Played] = {
    "guitar": Played((24, 25), range(45, 77, 5), (25, 27), range(47, 77, 5)),
    "violin": Played((40,), range(57, 89, 3), (40,), range(58, 88, 3)),
    "trumpet": Played((56,), range(55, 83, 3), (56,), range(56, 84, 3)),
    "saxophone": Played((65, 66), range(48, 80, 5), (64, 67), range(50, 80, 5)),
    "piano": Played((0, 1), range(40, 84, 7), (0, 1), range(43, 86, 7)),
    "accordion": Played((21,), range(52, 82, 3), (23,), range(53, 83, 3)),
    "banjo": Played((105,), range(50, 80, 3), (105,), range(51, 81, 3)),
    "flute": Played((73,), range(62, 95, 3), (73,), range(63, 93, 3)),
    "bell": Played((14, 9), range(60, 90, 5), (14, 112), range(62, 90, 5)),
    "drum": Played((), (36, 38, 41, 45, 48, 62), (), (35, 40, 43, 47, 50, 64), rates=2),
    "maracas": Played((), (70, 82), (), (70, 69), rates=5),
}
EFFECTS: Mapping[str, Effect] = {
    "bird": Effect(123, 0.0, (0.3, 0.6)),
    "telephone": Effect(124, 0.0, (0.5, 0.75)),
    "helicopter": Effect(125, 2.4),
    "applause": Effect(126, 0.6),
    "wave": Effect(122, 0.3),
}
EFFECT_TAKES = 2
SYNTH_TAKES = 2
SYNTH_ONLY_TAKES = 4
SPEECH_TAKES = 8


def sounds(font: Sounds) -> dict[str, list[Wave]]:
    """For each sounding class its waves (S,) float32 at 16 kHz, all at one loudness.

    Raises ResourceError if fluidsynth or espeak-ng fails, InputError if a loop falls silent on its way.
    """
    heard = _heard(font)
    return {
        one.name: [level(wave) for wave in _takes(font, index, one.name, heard.get(one.name, []))]
        for index, one in enumerate(SOUNDING)
    }


def _heard(font: Sounds) -> dict[str, list[Wave]]:
    """What the font's instruments play, as it comes, for each class that is not only spoken or synthesised."""
    if font.path is None:
        dials = {name: Dial((font.seed, index), font.lane) for index, name in enumerate(PLAYED)}
        return {name: model(name, _modelled_keys(name), dial) for name, dial in dials.items()}
    notes = {name: _notes(font, name) for name in (*PLAYED, *EFFECTS)}
    heard = iter(play(font.path, [note for each in notes.values() for note in each]))
    return {name: [next(heard) for _ in each] for name, each in notes.items()}


def _modelled_keys(name: str) -> list[int]:
    """Twelve pitches over the range that the class is played in; a drum's are those of its skin."""
    keys = PLAYED[name].keys if PLAYED[name].programs else range(36, 60)
    return [round(key) for key in np.linspace(min(keys), max(keys), 12)]


def _notes(font: Sounds, name: str) -> list[Note]:
    if name in EFFECTS:
        return [Note(EFFECTS[name].program, key, LOUD, EFFECT_S - 0.1, EFFECT_S) for key in font.effect_keys]
    played = PLAYED[name]
    programs = played.other_programs if font.shares_recordings else played.programs
    keys = played.other_keys if font.shares_recordings else played.keys
    if not programs:
        return [Note(None, key, LOUD, HIT_HOLD_S, HIT_S) for key in keys]
    return [
        Note(program, key, SOFT if index % 2 else LOUD, HOLD_S, NOTE_S)
        for program in programs
        for index, key in enumerate(keys)
    ]


def _takes(font: Sounds, index: int, name: str, heard: list[Wave]) -> list[Wave]:
    """The class's waves before levelling; `heard` is what the font's instruments played for it."""
    dials = [Dial((font.seed, 100 + index, take), font.lane) for take in range(SPEECH_TAKES)]
    if name in PLAYED:
        rates = 1 if font.path is None else PLAYED[name].rates
        shots = [wave if rates == 1 else _at_rate(wave, dial) for wave in heard for dial in dials[:rates]]
        return [fade(wave, in_s=0.0, out_s=0.08) for wave in shots]
    made: list[Wave] = []
    if name in EFFECTS and heard:
        made += [_effect(EFFECTS[name], heard, dials.pop()) for _ in range(EFFECT_TAKES)]
    if name in RECIPES:
        made += [RECIPES[name](dials.pop()) for _ in range(SYNTH_TAKES if made else SYNTH_ONLY_TAKES)]
    if name == "person":
        made += [speak(font.voices, take, dials.pop()) for take in range(SPEECH_TAKES)]
    return [_loop(name, wave) for wave in made]


def _loop(name: str, wave: Wave) -> Wave:
    """The wave closed to a loop, if it is audible throughout; else InputError."""
    loop = close_loop(wave, samples(LOOP_S))
    if not is_audible_throughout(loop):
        raise InputError(f"a loop of '{name}' falls silent", hint="Tighten its recipe: shorter rests, longer calls.")
    return loop


def _effect(effect: Effect, heard: list[Wave], dial: Dial) -> Wave:
    """One loop of a font's effect: what goes on by itself is cut, what is over soon is triggered again."""
    shots = [_at_rate(wave[samples(effect.skip_s) :], dial) for wave in heard]
    if effect.again_s is None:
        return lay([(0, shots[int(dial.rng.integers(len(shots)))])], LENGTH)
    pieces: list[tuple[int, Wave]] = []
    at = 0.0
    while at < LOOP_S:
        pieces.append((samples(at), trim(shots[int(dial.rng.integers(len(shots)))])))
        at += dial(*effect.again_s)
    return lay(pieces, LENGTH)


def _at_rate(wave: Wave, dial: Dial) -> Wave:
    """The wave played a little faster or slower than recorded."""
    return resample(wave, round(SAMPLE_RATE_HZ * dial(0.85, 1.2)))
