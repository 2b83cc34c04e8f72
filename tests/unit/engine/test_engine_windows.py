"""Clips that are longer than what the network knows are told window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import pytest
from fake_family import FakeFamily, FakeNetwork, write_clip

from crab_core.engine import session
from crab_core.engine.session import KEPT_VIEWS, Model, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import AudioMissing, InputError, UsageError
from crab_core.media import load_clip
from crab_core.progress import Note, Progress
from crab_core.tasks.grammar import write_avvp
from crab_core.types import Clip, Decoding, Event, Prompt, Request, View

TRUTH = (Event("dog", 2, 4, "audio"), Event("dog", 8, 13, "audio"), Event("bell", 6, 7, "visual"))


@dataclass
class Listener(FakeNetwork):
    """Tells of each window what is true in it; remembers how many were asked at once."""

    asked: list[int] = field(default_factory=list)

    def generate_batch(self, encoded: Sequence[object], prompts: Sequence[Prompt], decoding: Decoding) -> list[object]:  # type: ignore[override]
        self.asked.append(len(prompts))
        texts = [self._true_of(clip) for clip in self.clips[-len(prompts) :]]
        generated = []
        for text in texts:
            self.says["avvp"] = text
            generated += super().generate_batch([None], prompts[:1], decoding)  # type: ignore[list-item]
        return generated

    def _true_of(self, clip: Clip) -> str:
        start = clip.sound_windows_s[0][0] if clip.sound_windows_s else float(clip.frame_times_s[0])
        spans = [(e, max(0.0, e.start_s - start), min(10.0, e.end_s - start)) for e in TRUTH]
        return write_avvp([Event(e.label, a, b, e.track) for e, a, b in spans if a < b])


@pytest.fixture
def network(family: FakeFamily) -> Listener:
    family.network = Listener()
    return family.network


@pytest.fixture
def model(network: Listener, folder: Path) -> Model:
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("long") / "long.mp4", 24.0)


def test_events_come_in_true_seconds_and_whole(model: Model, long: Path) -> None:
    result = model.infer(Request(long, "avvp"))
    assert result.events == tuple(sorted(TRUTH, key=lambda event: event.start_s))
    assert result.answer is not None
    assert result.answer.text == "heard: dog from 2 to 4 s, dog from 8 to 13 s; seen: bell from 6 to 7 s"
    assert result.raw_text.splitlines()[1].startswith("[5-15 s] <visual_event>")
    assert (result.audio, result.duration_s) == ("used", 24.0)
    assert result.notes == ("the clip lasts 24 s: it was looked at in 4 windows of 10 s, one every 5 s",)


def test_windows_show_one_look_a_second(model: Model, network: Listener, long: Path) -> None:
    model.infer(Request(long, "avvp"))
    assert [tuple(clip.frame_times_s) for clip in network.clips] == [
        tuple(float(start + i) for i in range(count)) for start, count in ((0, 10), (5, 10), (10, 10), (15, 9))
    ]


def test_window_and_stride_are_chosen(model: Model, network: Listener, long: Path) -> None:
    result = model.infer(Request(long, "avvp", window_s=8, stride_s=8))
    assert [clip.frame_times_s[0] for clip in network.clips] == [0, 8, 16]
    assert result.events == tuple(sorted(TRUTH, key=lambda event: event.start_s))


def test_a_short_clip_is_not_stretched_nor_cut(model: Model, network: Listener, clip: Path) -> None:
    result = model.infer(Request(clip, "avvp"))
    assert [tuple(one.frame_times_s) for one in network.clips] == [(0.0, 1.0, 2.0)]
    assert result.notes == () and network.asked == []


def test_progress_is_told(model: Model, long: Path) -> None:
    heard: list[Progress | Note] = []
    model.infer(Request(long, "avvp", stride_s=2), on_progress=heard.append)
    assert heard == [
        Progress("windows", 0, 8, "windows", "at 0 s"),
        Progress("windows", 8, 8, "windows"),
    ]


def test_windows_are_answered_together_only_where_it_changes_nothing(
    model: Model, network: Listener, long: Path
) -> None:
    model.infer(Request(long, "avvp"))
    model.infer(Request(long, "avvp"), Decoding(temperature=0.5))
    assert network.asked == [4, 1, 1, 1, 1]


def test_few_windows_are_held(model: Model, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = session.Seen(model, Request(long, "avvp", window_s=2, stride_s=0.5))
    seen.answer(seen.request, None, None, Stopwatch())
    assert len(seen._clips) <= KEPT_VIEWS and len(seen._encodings) <= KEPT_VIEWS


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"window_s": 20}, "a window of '20' s is longer than what model 'fake' knows"),
        ({"stride_s": 11}, "a stride of '11' s leaves seconds out between windows of 10 s"),
        ({"window_s": 4, "stride_s": 5}, "windows of '4' s every '5' s leave seconds out"),
        ({"window_s": float("nan")}, "a window of 'nan' s is too short"),
        ({"stride_s": 0.0}, "a stride of '0' s is too short"),
        ({"task": "avcap", "window_s": 4}, "--window is for tasks that tell events, got task 'avcap'"),
    ],
)
def test_windows_that_cannot_be(model: Model, long: Path, request_: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        model.infer(Request(long, **{"task": "avvp", **request_}))  # type: ignore[arg-type]


def test_a_window_that_cannot_be_decoded_is_left_out(model: Model, long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, view: View, **options: object) -> Clip:
        if view.sound_windows_s[0][0] >= 10:
            raise InputError("nothing can be decoded")
        return load_clip(path, view, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("crab_core.media.load_clip", broken)
    result = model.infer(Request(long, "avvp"))
    assert Event("dog", 2, 4, "audio") in result.events
    assert "window 10-20 s and 1 more: left out: nothing can be decoded" in result.notes
    monkeypatch.setattr("crab_core.media.load_clip", lambda *_, **__: (_ for _ in ()).throw(InputError("void")))
    with pytest.raises(InputError, match="void"):
        model.infer(Request(long, "avvp"))


def test_sound_that_ends_early(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "early.mkv"
    with av.open(write_clip(tmp_path / "a.mkv", 24.0)) as pictures, av.open(path, "w") as out:
        with av.open(write_clip(tmp_path / "b.mkv", 3.0, pictures=False)) as sound:
            streams = [(c, c.streams[0], out.add_stream_from_template(c.streams[0])) for c in (pictures, sound)]
            packets = [(p, new) for c, old, new in streams for p in c.demux(old) if p.dts is not None]
        for packet, new in sorted(packets, key=lambda one: one[0].dts * one[0].time_base):
            packet.stream = new
            out.mux(packet)
    result = model.infer(Request(path, "avvp"))
    assert result.audio == "used" and len(result.raw_text.splitlines()) == 4
    assert any(note.startswith("window ") and "sound" in note for note in result.notes)
    with pytest.raises(AudioMissing):
        model.infer(Request(write_clip(tmp_path / "mute.mp4", 24.0, sound=False), "ave"))


def test_contradictions_are_told_with_their_window(model: Model, network: Listener, tmp_path: Path) -> None:
    result = model.infer(Request(write_clip(tmp_path / "mute.mp4", 24.0, sound=False), "avvp"))
    assert "window 0-10 s: 'dog' is told as heard from 2 to 4 s, and there is no sound track" in result.consistency
    assert "window 5-15 s: 'dog' is told as heard from 8 to 13 s, and there is no sound track" in result.consistency
