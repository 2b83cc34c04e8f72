"""AVE and AVVP scores against numbers counted by hand on a 10-second clip."""

from __future__ import annotations

import numpy as np
import pytest

from crab_core.evaluate import localization, parsing
from crab_core.evaluate.rows import EventRow
from crab_core.evaluate.seconds import BACKGROUND, covered, grid, runs, second_labels
from crab_core.types import Event


def events(text: str) -> tuple[Event, ...]:
    """`"dog 0 4 a; bell 2 10"`: a for audio, v for visual, nothing for both."""
    tracks = {"a": "audio", "v": "visual"}
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        label, start, end, *track = part.split()
        found.append(Event(label, float(start), float(end), tracks[track[0]] if track else "both"))
    return tuple(found)


def row(predicted: str, truth: str, seconds: int = 10, clip: str = "a") -> EventRow:
    return EventRow(clip, seconds, events(predicted), events(truth))


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        pytest.param(3, 8, [3, 4, 5, 6, 7], id="whole seconds, end exclusive"),
        pytest.param(2.4, 4.6, [2, 3, 4], id="middles inside"),
        pytest.param(2.6, 4.5, [3], id="middles outside"),
        pytest.param(8, 30, [8, 9], id="beyond the clip"),
        pytest.param(0.1, 0.3, [], id="too short for a second"),
    ],
)
def test_covered_seconds(start_s, end_s, expected):
    assert np.flatnonzero(covered(Event("dog", start_s, end_s), 10)).tolist() == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("0110100000", [(1, 3), (4, 5)]), ("1111", [(0, 4)]), ("0000", []), ("1001", [(0, 1), (3, 4)]), ("", [])],
)
def test_runs(line, expected):
    assert runs(np.array([sign == "1" for sign in line], dtype=np.bool_)) == expected


def test_a_second_label_is_the_first_told():
    assert second_labels(events("Dog 0 2; bell 1 4"), 5) == ["dog", "dog", "bell", "bell", BACKGROUND]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("dog 1 3", [1, 2], id="one event on both tracks"),
        pytest.param("dog 0 4 a; dog 2 6 v", [2, 3], id="two tracks that overlap"),
        pytest.param("dog 0 4 a", [], id="only heard"),
    ],
)
def test_seen_and_heard_at_once(text, expected):
    assert np.flatnonzero(grid(events(text), "both", 6, ["dog"])[0]).tolist() == expected


@pytest.mark.parametrize(
    ("predicted", "truth", "right_class", "right_seconds", "exact"),
    [
        pytest.param("dog 3 8", "dog 3 8", 1, 10, 1, id="all right"),
        pytest.param("dog 3 9", "dog 3 8", 1, 9, 0, id="one second too long"),
        pytest.param("cat 3 8", "dog 3 8", 0, 5, 0, id="wrong class: the background is right"),
        pytest.param("", "dog 3 8", 0, 5, 0, id="nothing told"),
        pytest.param("", "", 1, 10, 1, id="nothing there"),
        pytest.param("dog 0 10", "", 0, 0, 0, id="told where nothing is"),
        pytest.param("DOG 3 8; cat 0 10", "dog 3 8", 1, 5, 0, id="the first event counts, a second one costs seconds"),
    ],
)
def test_ave_of_one_clip(predicted, truth, right_class, right_seconds, exact):
    rows = [row(predicted, truth)]
    assert localization.class_accuracy(rows).value == right_class
    assert localization.second_accuracy(rows).value == pytest.approx(right_seconds / 10)
    assert localization.exact_rate(rows).value == exact


def test_ave_seconds_weigh_by_length():
    rows = [row("dog 0 5", "dog 0 5", seconds=5), row("", "dog 0 10", clip="b")]
    assert localization.second_accuracy(rows).value == pytest.approx(5 / 15)


@pytest.mark.parametrize(
    ("predicted", "truth", "micro", "official_segment", "official_event"),
    [
        pytest.param("dog 0 4 a", "dog 0 4 a", 1, 1, 1, id="all right"),
        # dog 4 hits, bell 8 missed, cat 2 false: 8 / (8 + 2 + 8); per class 1, 0, 0
        pytest.param("dog 0 4 a; cat 0 2 a", "dog 0 4 a; bell 2 10 a", 8 / 18, 1 / 3, 1 / 3, id="one of three classes"),
        # 3 of 6 seconds: F 6/9; the run's IoU is exactly one half
        pytest.param("dog 0 3 a", "dog 0 6 a", 6 / 9, 6 / 9, 1, id="half of the event"),
        # 2 of 6 seconds: F 4/8; IoU one third
        pytest.param("dog 0 2 a", "dog 0 6 a", 4 / 8, 4 / 8, 0, id="a third of the event"),
        # 8 of 8 true seconds hit and 2 false: F 16/18; one run against two, IoU 0.4 with each
        pytest.param("dog 0 10 a", "dog 0 4 a; dog 6 10 a", 16 / 18, 16 / 18, 0, id="a gap told over"),
        # the same, but the first run is long enough: IoU 0.6, the second run is missed: F 2/(2+0+1)
        pytest.param("dog 0 10 a", "dog 0 6 a; dog 8 9 a", 14 / 17, 14 / 17, 2 / 3, id="a gap and one match"),
        pytest.param("", "", 1, 1, 1, id="nothing there, nothing told"),
        pytest.param("dog 0 1 a", "", 0, 0, 0, id="nothing there, something told"),
        pytest.param("dog 0 4 v", "dog 0 4 a", 0, 0, 0, id="told on the other track"),
    ],
)
def test_avvp_audio_of_one_clip(predicted, truth, micro, official_segment, official_event):
    rows = [row(predicted, truth)]
    assert parsing.segment_f1(rows, "audio").value == pytest.approx(micro)
    assert parsing.video_f(rows, "audio", "segment").value == pytest.approx(official_segment)
    assert parsing.video_f(rows, "audio", "event").value == pytest.approx(official_event)


def test_avvp_official_averages_videos_and_micro_adds_seconds():
    rows = [row("dog 0 1 a", "dog 0 1 a"), row("", "dog 0 9 a", clip="b")]
    assert parsing.video_f(rows, "audio", "segment").value == pytest.approx((1 + 0) / 2)
    assert parsing.segment_f1(rows, "audio").value == pytest.approx(2 * 1 / (2 * 1 + 9))


def test_avvp_type_and_event_at_av():
    # audio: dog 4/4 -> F 1.  visual: dog told 0-4, true 0-8 -> F 8/12.  both: dog told 0-4, true 0-4 -> F 1.
    rows = [row("dog 0 4", "dog 0 4; dog 4 8 v")]
    assert parsing.video_f(rows, "type", "segment").value == pytest.approx((1 + 8 / 12 + 1) / 3)
    # audio 4 hits; visual 4 hits, 4 missed: 2*8 / (2*8 + 4)
    assert parsing.video_f(rows, "event", "segment").value == pytest.approx(16 / 20)
    # the visual run has an IoU of one half and matches
    assert parsing.video_f(rows, "type", "event").value == 1


@pytest.mark.parametrize(
    ("predicted", "truth", "audio", "visual"),
    [
        pytest.param("dog 0 4; bell 2 3 a", "bell 2 3 a; dog 0 4", 1, 1, id="any order"),
        pytest.param("dog 0 4", "dog 0 4; bell 2 3 a", 0, 1, id="one lacking"),
        pytest.param("dog 0 4; cat 1 2 v", "dog 0 4", 1, 0, id="one too many"),
        pytest.param("dog 0 2; dog 2 4", "dog 0 4", 1, 1, id="split but the same seconds"),
    ],
)
def test_avvp_exact_lists(predicted, truth, audio, visual):
    rows = [row(predicted, truth)]
    assert parsing.exact_rate(rows, "audio").value == audio
    assert parsing.exact_rate(rows, "visual").value == visual


@pytest.mark.parametrize("level", ["segment", "event"])
@pytest.mark.parametrize("aspect", ["audio", "visual", "both", "type", "event"])
def test_avvp_f_does_not_change_when_model_and_truth_change_places(aspect, level):
    rng = np.random.default_rng(5)

    def some() -> tuple[Event, ...]:
        starts = rng.integers(0, 9, size=3)
        picked = rng.integers(0, 3, size=3)
        return tuple(
            Event("xyz"[label], float(start), float(start + rng.integers(1, 10 - start + 1)), track)
            for start, label, track in zip(starts, picked, ("audio", "visual", "both"), strict=True)
        )

    rows = [EventRow(str(number), 10, some(), some()) for number in range(20)]
    swapped = [EventRow(one.clip, one.seconds, one.truth, one.predicted) for one in rows]
    value = parsing.video_f(rows, aspect, level).value
    assert 0 < value < 1
    assert value == pytest.approx(parsing.video_f(swapped, aspect, level).value)


def test_a_clip_needs_a_second():
    with pytest.raises(ValueError, match="at least 1 second, got 0"):
        row("", "", seconds=0)
