"""Hiding patches, with a score that knows where the truth lies."""

from pathlib import Path

import numpy as np
import pytest

from crab_core.engine.heads_faithful import faithfulness, hide
from crab_core.types import Clip


@pytest.fixture
def clip():
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[0, :4, :4] = 200
    return Clip(
        path=Path("clip.mp4"),
        duration_s=2.0,
        frame_times_s=np.array([0.0, 1.0]),
        frames=frames,
        waveform=np.ones(32_000, np.float32),
        sound_windows_s=((0.0, 1.0), (1.0, 2.0)),
        size=(8, 8),
        audio="used",
    )


def test_only_hidden_pixels_change(clip):
    hidden = np.zeros((2, 2, 2), bool)
    hidden[0, 0, 0] = True
    changed = hide(clip, "video", hidden)
    assert (changed.frames[0, :4, :4] == 50).all()  # the mean colour of that frame
    assert (changed.frames[0, 4:] == clip.frames[0, 4:]).all()
    assert (changed.frames[1] == clip.frames[1]).all()
    assert (clip.frames[0, :4, :4] == 200).all()  # the clip itself stays


def test_only_hidden_sound_falls_silent(clip):
    hidden = np.zeros((2, 1, 4), bool)
    hidden[1, 0, 3] = True
    changed = hide(clip, "audio", hidden).waveform
    assert (changed[:28_000] == 1).all()
    assert not changed[28_000:].any()


def bright(clip):
    """A log-probability that hangs on the bright corner and on the last quarter of the first second's sound."""
    return float(clip.frames[0, :4, :4].mean() / 100 + clip.waveform[12_000:16_000].mean())


def true_maps():
    video, audio = np.zeros((2, 2, 2, 2), np.float32), np.zeros((2, 2, 1, 4), np.float32)
    video[0, 0, 0, 0] = audio[1, 0, 0, 3] = 1
    return {"video": video, "audio": audio}


def test_a_true_map_loses_more_than_chance_and_a_false_one_less(clip):
    truth = faithfulness(clip, true_maps(), bright)
    assert [one.medium for one in truth] == ["video", "audio"]
    assert all(one.gain > 0.2 for one in truth)
    assert truth[0].whole == 3
    assert truth[0].relevant[0] == pytest.approx(1.5)
    lies = faithfulness(clip, {medium: 1 - one for medium, one in true_maps().items()}, bright)
    assert all(one.gain < 0 for one in lies)


def test_the_same_seed_gives_the_same_check(clip):
    assert faithfulness(clip, true_maps(), bright, seed=3) == faithfulness(clip, true_maps(), bright, seed=3)


def test_an_empty_map_is_not_checked(clip):
    assert faithfulness(clip, {"video": np.zeros((1, 2, 2, 2), np.float32)}, bright) == ()
