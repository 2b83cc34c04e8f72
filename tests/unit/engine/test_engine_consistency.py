"""What contradicts what: the explanation, the answer and the sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crab_core.engine.consistency import Scale, contradictions
from crab_core.registry import TASKS
from crab_core.tasks.grammar import read_answer, read_ave, read_avvp, write_ave
from crab_core.types import Answer, AudioState, Canvas, Clip, Event, Reading
from crab_core.world.bank import load_bank
from crab_core.world.labels import label
from crab_core.world.questions import describe
from crab_core.world.scene import sample_scene

CANVAS = Canvas(10.0)
TAGGED = (
    "So the audible and visible event in the video is <event> dog </event>, and the time range is <range> 0,5 </range>."
)
AVE = "The {a} is seen from 0 to 10 and heard from {b}. " + TAGGED


def clip(sounding: str = "1111111111", audio: AudioState = "used") -> Clip:
    """Ten seconds; those with a 1 have a sound."""
    wave = np.concatenate([np.full(16_000, 0.1 * int(letter), np.float32) for letter in sounding])
    windows = tuple((float(i), i + 1.0) for i in range(len(sounding)))
    return Clip(Path("a.mp4"), 10.0, np.arange(10.0), np.zeros((10, 2, 2, 3), np.uint8), wave, windows, (2, 2), audio)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(AVE.format(a="dog", b="0 to 5"), (), id="it fits"),
        pytest.param(AVE.format(a="dog", b="0 to 6"), (), id="a second is rounding"),
        pytest.param(
            AVE.format(a="dog", b="4 to 9"),
            ("the explanation says that 'dog' is seen and heard from 4 to 9 s, the answer from 0 to 5 s",),
            id="other times",
        ),
        pytest.param(
            AVE.format(a="bell", b="0 to 5"),
            (
                "the answer names 'dog', which the explanation does not mention",
                "the explanation says that 'bell' is seen and heard from 0 to 5 s, the answer does not name it so",
            ),
            id="another thing",
        ),
        pytest.param(TAGGED, (), id="no explanation"),
    ],
)
def test_explained_events(text: str, found: tuple[str, ...]) -> None:
    assert contradictions(read_ave(text, CANVAS), clip(), Scale()) == found


def test_tracks_are_compared_each_with_its_own() -> None:
    said = "The dog is seen from 0 to 4 and heard from 2 to 9."
    text = f"{said} <visual_event>dog,(0 4)</visual_event> <audio_event>dog,(0 4)</audio_event>"
    assert contradictions(read_avvp(text, CANVAS), clip(), Scale()) == (
        "the explanation says that 'dog' is heard from 2 to 9 s, the answer from 0 to 4 s",
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The dog is heard from 2 to 9. So the answer is <answer> from 2 to 9 </answer>.", ()),
        (
            "The dog is heard from 2 to 9. So the answer is <answer> from 4 to 5 </answer>.",
            ("the answer says from 4 to 5 s, the explanation from 2 to 9 s",),
        ),
        ("I hear a dog. So the answer is <answer> from 4 to 5 </answer>.", ()),
        ("I hear a dog. So the answer is <answer> one </answer>.", ()),
    ],
)
def test_explained_answers(text: str, found: tuple[str, ...]) -> None:
    assert contradictions(read_answer(text, CANVAS), clip(), Scale()) == found


def test_times_are_those_of_the_clip() -> None:
    reading = Reading(Answer("", "The dog is heard from 1 to 2."), (Event("dog", 8, 10, "audio"),))
    (told,) = contradictions(reading, clip(), Scale(2.0, 100.0))
    assert told == "the explanation says that 'dog' is heard from 102 to 104 s, the answer from 108 to 110 s"


@pytest.mark.parametrize(
    ("sounding", "event", "told"),
    [
        ("1110000000", Event("dog", 0, 3, "audio"), ""),
        ("1110000000", Event("dog", 1, 5, "audio"), ""),
        ("1110000000", Event("dog", 2, 6, "audio"), "silent then"),
        ("1110000000", Event("dog", 5, 6, "both"), "silent then"),
        ("1110000000", Event("dog", 5, 6, "visual"), ""),
    ],
)
def test_silence(sounding: str, event: Event, told: str) -> None:
    found = contradictions(Reading(Answer(""), (event,)), clip(sounding), Scale())
    assert (told in found[0]) if told else found == ()


def test_no_sound_track() -> None:
    mute = replace(clip(audio="absent"), waveform=np.zeros(0, np.float32), sound_windows_s=())
    assert contradictions(Reading(Answer(""), (Event("dog", 5, 6, "both"),)), mute, Scale()) == (
        "'dog' is told as heard from 5 to 6 s, and there is no sound track",
    )
    assert contradictions(Reading(Answer("dog", "I hear a dog.")), mute, Scale()) == (
        "the explanation tells of something heard, and there is no sound track",
    )
    assert contradictions(Reading(Answer("none", "I hear nothing.")), mute, Scale()) == ()


def test_what_the_generated_world_teaches_contradicts_nothing() -> None:
    bank, judged, caught = load_bank(), 0, 0
    for index in range(12):
        scene = sample_scene("train", index, seed=3, bank=bank)
        told = describe(scene, label(scene))
        targets = [("avqa", asked["target"]) for asked in told["qa"]] + [(task, told[task]) for task in ("ave", "avvp")]
        for task, text in targets:
            assert contradictions(TASKS[task].load().read(text, CANVAS), clip(), Scale()) == (), text
        reading = read_ave(told["ave"], CANVAS)
        if reading.events and reading.answer is not None:
            late = [replace(e, start_s=(e.start_s + 4) % 9, end_s=(e.start_s + 4) % 9 + 1) for e in reading.events]
            wrong = write_ave(late, reading.answer.reasoning)
            judged += 1
            caught += bool(contradictions(read_ave(wrong, CANVAS), clip(), Scale()))
    assert judged > 5 and caught >= judged - 1
