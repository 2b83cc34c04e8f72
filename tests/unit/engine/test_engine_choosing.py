"""Several clips in one request: what the network is shown of each, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_family import FakeFamily, write_clip, write_model

from crab_core import registry
from crab_core.engine.choosing import fitted
from crab_core.engine.run import run
from crab_core.engine.session import load
from crab_core.errors import AudioMissing, InputError, ModelError, UsageError
from crab_core.types import Request, Result


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "sound": write_clip(tmp_path / "sound.mp4", 2.0, pictures=False),
        "short": write_clip(tmp_path / "short.mp4", 3.0),
        "mute": write_clip(tmp_path / "mute.mp4", 4.0, sound=False),
    }


def test_two_videos_are_one_video_with_the_clips_own_sound(
    family: FakeFamily, folder: Path, files: dict[str, Path]
) -> None:
    request = Request(files["sound"], "a2v", choices=(str(files["short"]), str(files["mute"])))
    result = load(folder, device="cpu").infer(request)
    (shown,) = family.network.clips
    assert shown.frames.shape == (7, 8, 8, 3), "3 frames of the first, 4 of the second"
    assert shown.frame_times_s.tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6], abs=0.2)
    assert len(shown.waveform) == 2 * 16_000
    assert family.network.prompts[0].media == ("audio", "video")
    assert result.answer is not None and result.answer.text == "2"
    assert result.audio == "used" and result.task == "a2v"
    assert result.notes[0] == f"1 is '{files['short']}', 2 is '{files['mute']}'"
    assert not any("no sound track" in note for note in result.notes), "a candidate's sound is not wanted"


def test_two_sounds_are_one_sound_with_the_clips_own_pictures(
    family: FakeFamily, folder: Path, files: dict[str, Path]
) -> None:
    request = Request(files["mute"], "v2a", choices=(str(files["sound"]), str(files["short"])))
    result = load(folder, device="cpu").infer(request)
    (shown,) = family.network.clips
    assert len(shown.frames) == 4 and len(shown.waveform) == (2 + 3) * 16_000
    assert shown.sound_windows_s[2] == pytest.approx((2.0, 3.0), abs=0.2)
    assert result.audio == "replaced" and result.answer is not None and result.answer.text == "1"


def test_a_seen_clip_takes_choices(folder: Path, files: dict[str, Path]) -> None:
    seen = load(folder, device="cpu").look(files["short"])
    told = seen.ask("What is it?", task="avqa-options", choices=["dog", "cat"])
    assert told.answer is not None and told.answer.text == "dog"
    matched = seen.ask(task="a2v", choices=[files["short"], files["mute"]])
    assert matched.answer is not None and matched.answer.text == "2"


@pytest.mark.parametrize(
    ("task", "clip", "choices", "error"),
    [
        ("a2v", "mute", ("short", "short"), AudioMissing),
        ("a2v", "sound", ("short", "sound"), InputError),
        ("v2a", "sound", ("short", "short"), InputError),
        ("v2a", "mute", ("short", "mute"), AudioMissing),
        ("a2v", "sound", ("short",), UsageError),
        ("a2v", "sound", ("short", "short", "short"), UsageError),
        ("avcap", "short", ("short", "short"), UsageError),
    ],
)
def test_what_cannot_be_compared_is_refused(
    folder: Path, files: dict[str, Path], task: str, clip: str, choices: tuple[str, ...], error: type[Exception]
) -> None:
    request = Request(files[clip], task, choices=tuple(str(files[one]) for one in choices))
    with pytest.raises(error):
        load(folder, device="cpu").infer(request)


def test_a_missing_candidate_is_named(folder: Path, files: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4"):
        load(folder, device="cpu").infer(Request(files["sound"], "a2v", choices=(str(files["short"]), "gone.mp4")))


def test_a_family_that_looks_at_one_clip_is_not_shown_two(
    folder: Path, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.FAMILIES, "fake", replace(registry.FAMILIES["fake"], several_clips=False))
    request = Request(files["sound"], "a2v", choices=(str(files["short"]),) * 2)
    with pytest.raises(ModelError, match="shows several clips at once, and model 'fake' looks at one"):
        load(folder, device="cpu").infer(request)


@pytest.mark.parametrize("task", ["emotion", "action", "unav"])
def test_what_must_be_learnt_is_refused(family: FakeFamily, files: dict[str, Path], tmp_path: Path, task: str) -> None:
    model = load(write_model(tmp_path / "other", tasks=["avqa"]), device="cpu")
    with pytest.raises(ModelError, match=f"was not trained on task '{task}', only on avqa"):
        model.infer(Request(files["short"], task))
    assert not family.network.clips


def test_frames_are_fitted_without_distortion() -> None:
    frames = np.full((2, 10, 40, 3), 200, np.uint8)
    made = fitted(frames, (20, 20))
    assert made.shape == (2, 20, 20, 3)
    assert (made[:, 7:12] > 190).all(), "10 x 40 becomes 5 x 20, in the middle"
    assert not made[:, :7].any() and not made[:, 13:].any()


def test_a_run_takes_several_clips_a_request(folder: Path, files: dict[str, Path]) -> None:
    request = Request(files["sound"], "a2v", choices=(str(files["short"]), str(files["mute"])))
    (outcome,) = run([request], load(folder, device="cpu"))
    assert isinstance(outcome, Result)
