"""Which moments are asked about, what is shown of each, and how many become one result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_family import FAMILY, FakeNetwork, clip, family, folder

from crab_core import registry
from crab_core.engine.moments import look_at, moments_of
from crab_core.engine.session import Seen, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import UsageError
from crab_core.families._base import Encoded, Generated
from crab_core.progress import Progress
from crab_core.tasks._base import Moment, Task
from crab_core.tasks.pictures import at_second, is_nothing, ordinal
from crab_core.tasks.wording import of_video
from crab_core.types import Answer, Box, Canvas, Part, Prompt, Reading, Request, Result

__all__ = ["FAMILY", "clip", "family", "folder"]

PICTURE = Prompt((Part("text", "This is an image: "), Part("image"), Part("audio"), Part("text", "segment")))


def read(text: str, canvas: Canvas) -> Reading:
    problems = ("no label",) if text == "?" else ()
    return Reading(Answer(text), boxes=(Box(text, 0, 0, *canvas.size),) if not problems else (), problems=problems)


def told(label: str, second: str) -> str:
    return f"forced {label} at the {second}"


def task(prompt: Prompt = PICTURE, **values: object) -> Task:
    moment = Moment(**{"window_s": 5, "told": told, **values})  # type: ignore[arg-type]
    return Task("dot", "", lambda question, profile: prompt, read, ("answer", "boxes", "masks"), moment=moment)


TASK = task()


class Drawing(FakeNetwork):
    """Says what `texts` has for each call, and draws where the text does not begin with `!`."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts, self.forced, self.encoded = texts, [], []

    def generate(self, encoded, prompt, decoding, on_text=None):  # type: ignore[no-untyped-def]
        self.prompts.append(prompt)
        self.encoded.append(encoded)
        text = self.texts[min(len(self.prompts), len(self.texts)) - 1]
        logits = {} if text.startswith("!") or text == "?" else {"mask_logits": np.ones((1, 8, 8), np.float32)}
        return Generated(text.lstrip("!"), (1,), extras=logits)

    def force(self, encoded: Encoded, prompt: Prompt, answer: str) -> Generated:
        self.forced.append(answer)
        return Generated(answer, (1,), extras={"mask_logits": np.ones((1, 8, 8), np.float32)})


@pytest.fixture
def ask(folder, family, clip, monkeypatch):  # type: ignore[no-untyped-def]
    """Asks about moments of the clip of three seconds; gives the result, the network and the progress."""
    monkeypatch.setitem(registry.TASKS, "dot", registry.Entry(f"{__name__}:TASK", "a dot"))

    def call(texts: list[str], **asked: object) -> tuple[Result, Drawing, list[Progress]]:
        family.network = Drawing(texts)
        told: list[Progress] = []
        request = Request(clip, "dot", **asked)  # type: ignore[arg-type]
        result = load(folder, device="cpu").infer(request, on_progress=told.append)  # type: ignore[arg-type]
        return result, family.network, told

    return call


@pytest.mark.parametrize(
    ("asked", "duration_s", "expected"),
    [
        pytest.param({}, 3.0, (0, 1, 2), id="every second"),
        pytest.param({}, 3.02, (0, 1, 2, 3), id="a little more than three"),
        pytest.param({}, 0.4, (0,), id="shorter than a second"),
        pytest.param({}, 0.0, (0,), id="a still"),
        pytest.param({"every_s": 0.5}, 1.2, (0, 0.5, 1), id="twice a second"),
        pytest.param({"every_s": 60}, 10, (0,), id="rarer than the clip lasts"),
        pytest.param({"at_s": (2.5, 0, 2.5)}, 3.0, (0, 2.5), id="named, ordered, once"),
        pytest.param({"at_s": (3.0,)}, 3.0, (3,), id="the very end"),
    ],
)
def test_moments(asked: dict[str, object], duration_s: float, expected: tuple[float, ...]) -> None:
    assert moments_of(Request(Path("a.mp4"), **asked), duration_s) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        pytest.param({"at_s": (12.5,)}, "'12.5' s lies outside 'a.mp4', which lasts 10.00 s", id="beyond"),
        pytest.param({"at_s": (-1,)}, "'-1' s lies outside", id="before"),
        pytest.param({"at_s": (float("nan"),)}, "'nan' s lies outside", id="nan"),
        pytest.param({"every_s": 1e-6}, "10000000 pictures", id="too many"),
    ],
)
def test_moments_that_cannot_be_are_refused(asked: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        moments_of(Request(Path("a.mp4"), **asked), 10.0)  # type: ignore[arg-type]
    assert words in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("every_s", [0, -1, float("nan"), float("inf")])
def test_a_distance_that_is_none_is_refused(every_s: float) -> None:
    with pytest.raises(ValueError, match="every_s"):
        Request(Path("a.mp4"), every_s=every_s)


VIDEO = of_video("segment at the <second> second")


@pytest.mark.parametrize(
    ("prompt", "heard_s", "duration_s", "at_s", "frames", "sound", "picture"),
    [
        pytest.param(PICTURE, 1, 10.0, 2.5, (2.5,), (2.5, 3.5), 0, id="picture and its second"),
        pytest.param(PICTURE, 1, 10.0, 9.5, (9.5,), (9.0, 10.0), 0, id="picture near the end"),
        pytest.param(PICTURE, 1, 0.0, 0.0, (0.0,), (0.0, 1.0), 0, id="a still"),
        pytest.param(PICTURE, 5, 12.0, 7.5, (7.5,), (5.0, 10.0), 0, id="picture and five seconds"),
        pytest.param(VIDEO, 1, 5.0, 2.0, (0, 1, 2, 3, 4), (0.0, 5.0), 2, id="window of a trained clip"),
        pytest.param(VIDEO, 1, 30.0, 7.25, (5, 6, 7.25, 8, 9), (5.0, 10.0), 2, id="window of a long clip"),
        pytest.param(VIDEO, 1, 12.3, 12.1, (7, 8, 9, 10, 12.1), (7.0, 12.0), 4, id="last window is a whole one"),
        pytest.param(VIDEO, 1, 3.0, 2.9, (0, 1, 2.9), (0.0, 3.0), 2, id="clip shorter than trained"),
    ],
)
def test_what_is_shown_of_a_moment(prompt, heard_s, duration_s, at_s, frames, sound, picture) -> None:  # type: ignore[no-untyped-def]
    look = look_at(FakeNetwork(), task(prompt, heard_s={"x": heard_s}), prompt, "x", duration_s, at_s)
    assert look.view.frame_times_s == frames and look.picture == picture
    heard = look.view.sound_windows_s
    assert (heard[0][0], heard[-1][1]) == sound and all(end - start == 1 for start, end in heard)
    assert look.view.frame_times_s[look.picture] == at_s


def test_moments_of_one_window_share_its_encoding() -> None:
    looks = [look_at(FakeNetwork(), task(VIDEO), VIDEO, "train", 30.0, at_s) for at_s in (5.0, 6.0, 9.0)]
    assert len({look.view for look in looks}) == 1 and [look.picture for look in looks] == [0, 1, 4]


def test_the_second_is_named_in_the_wording() -> None:
    assert at_second(VIDEO, 3).parts[-1].text.endswith("segment at the third second")
    assert [ordinal(n) for n in (1, 10, 11, 12, 21, 22, 33)] == [
        "first",
        "tenth",
        "11th",
        "12th",
        "21st",
        "22nd",
        "33rd",
    ]


def test_every_moment_is_asked_and_becomes_one_result(ask) -> None:  # type: ignore[no-untyped-def]
    result, network, progress = ask(["dog", "dog", "nothing"])
    assert [(mask.label, mask.time_s, mask.area_px > 0) for mask in result.masks] == [
        ("dog", 0, True),
        ("dog", 1, True),
        ("nothing", 2, False),
    ]
    assert [box.time_s for box in result.boxes] == [0, 1, 2]
    assert {mask.size for mask in result.masks} == {(32, 24)}
    assert result.answer == Answer("dog from 0 to 1 s; nothing at 2 s")
    assert result.raw_text == "[0 s] dog\n[1 s] dog\n[2 s] nothing"
    assert [clip.frame_times_s.tolist() for clip in network.clips] == [[0], [1], [2]]
    assert [heard.done for heard in progress if isinstance(heard, Progress) and heard.stage == "moments"] == [
        0,
        1,
        2,
        3,
    ]


def test_one_moment_reads_like_any_answer(ask) -> None:  # type: ignore[no-untyped-def]
    result, _, _ = ask(["dog"], at_s=(1.5,))
    assert (result.answer, result.raw_text) == (Answer("dog"), "dog")
    assert result.masks[0].time_s == 1.5


def test_a_forgotten_mask_is_drawn_and_told(ask) -> None:  # type: ignore[no-untyped-def]
    result, network, _ = ask(["!dog"], at_s=(1.0,))
    assert network.forced == ["forced dog at the first"] and result.masks[0].area_px
    assert any("told no mask" in note for note in result.notes)
    result, network, _ = ask(["!nothing"], at_s=(1.0,))
    assert network.forced == [] and not result.masks[0].area_px
    assert not any("told no mask" in note for note in result.notes)


def test_what_cannot_be_read_is_told_with_its_times(ask) -> None:  # type: ignore[no-untyped-def]
    result, _, _ = ask(["dog", "?", "?"])
    assert "at 1, 2 s: no label" in result.notes


def test_memory_holds_a_few_views(folder, family, clip) -> None:  # type: ignore[no-untyped-def]
    seen = Seen(load(folder, device="cpu"), Request(clip, "dot", every_s=0.1))
    for at_s in np.arange(0, 2.9, 0.1):
        look = look_at(family.network, TASK, PICTURE, "train", 3.0, float(at_s))
        seen.encode_view(TASK, look.view, Stopwatch())
    assert len(seen._clips) <= 8 and len(seen._encodings) <= 8


@pytest.mark.parametrize("text", ["nothing", "None.", " null ", "", "no object"])
def test_words_for_nothing(text: str) -> None:
    assert is_nothing(text) and not is_nothing("dog")
