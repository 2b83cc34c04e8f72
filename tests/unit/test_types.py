"""Values are checked where they are born, and a result survives JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crab_core.types import Answer, Box, Clip, Decoding, Event, Part, Prompt, Result, View


def clip(frames: int = 2, pictures: np.ndarray | None = None, **changes: object) -> Clip:
    values: dict[str, object] = {
        "path": Path("a.mp4"),
        "duration_s": 1.0,
        "frame_times_s": np.arange(frames, dtype=np.float64),
        "frames": np.zeros((frames, 4, 4, 3), np.uint8) if pictures is None else pictures,
        "waveform": np.zeros(16_000, np.float32),
        "sound_windows_s": ((0.0, 1.0),),
        "size": (4, 4),
        "audio": "used",
    }
    return Clip(**{**values, **changes})  # type: ignore[arg-type]


RESULT = Result(
    id="a",
    model="mini",
    task="avqa",
    question="what?",
    answer=Answer("dog", "a dog is heard"),
    events=(Event("dog", 0.0, 3.0, "audio"),),
    boxes=(Box("dog", 1, 2, 3, 4),),
    raw_text="a dog is heard <answer> dog </answer>",
    audio="used",
    duration_s=10.0,
    seconds=0.123456789,
    timings_s={"load": 0.123456789},
    notes=("a note",),
    seed=3,
)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: clip(duration_s=-1), "-1 s", id="clip of negative length"),
        pytest.param(lambda: clip(frames=2, frame_times_s=np.zeros(3)), "2 frames but 3", id="times without frames"),
        pytest.param(lambda: clip(pictures=np.zeros((2, 4, 4), np.uint8)), "(2, 4, 4)", id="frames without colour"),
        pytest.param(lambda: View((), ((1.0, 1.0),)), "start < end", id="empty sound window"),
        pytest.param(lambda: View((), (), second_s=0), "0 s", id="model second of no length"),
        pytest.param(lambda: Event("dog", 2, 2), "2 to 2 s", id="event of no length"),
        pytest.param(lambda: Event("dog", -1, 2), "-1 to 2 s", id="event before the clip"),
        pytest.param(lambda: Box("dog", 3, 0, 3, 1), "x0 < x1", id="box of no width"),
        pytest.param(lambda: Decoding(max_new_tokens=0), "got 0", id="no new tokens"),
        pytest.param(lambda: Decoding(temperature=-0.1), "got -0.1", id="negative temperature"),
        pytest.param(lambda: Decoding(temperature=float("nan")), "got nan", id="temperature that is no number"),
        pytest.param(lambda: Decoding(top_p=0), "got 0", id="top_p of 0"),
        pytest.param(lambda: Decoding(top_p=1.1), "got 1.1", id="top_p above 1"),
    ],
)
def test_a_value_that_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert words in str(caught.value)


def test_a_clip_tells_what_it_has() -> None:
    assert clip().has_frames and clip().has_sound
    silent = clip(frames=0, audio="absent")
    assert not silent.has_frames and not silent.has_sound


def test_a_prompt_lists_its_media_in_order() -> None:
    assert Prompt((Part("text", "look"), Part("video"), Part("audio"))).media == ("video", "audio")


def test_a_result_survives_json() -> None:
    back = Result.from_dict(json.loads(json.dumps(RESULT.to_dict())))
    assert back.answer == RESULT.answer and back.events == RESULT.events and back.boxes == RESULT.boxes
    assert back.to_dict() == RESULT.to_dict()
    assert next(iter(RESULT.to_dict())) == "schema"
    assert RESULT.to_dict()["seconds"] == 0.1235


@pytest.mark.parametrize(
    ("change", "words"),
    [({"schema": "crab.result/0"}, "crab.result/0"), ({"colour": 1}, "colour")],
    ids=["other schema", "unknown key"],
)
def test_a_foreign_document_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Result.from_dict({**RESULT.to_dict(), **change})


def test_notes_are_added_at_the_end() -> None:
    assert RESULT.with_notes(["more"]).notes == ("a note", "more")
