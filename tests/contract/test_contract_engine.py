"""What holds for every task with every family, through the engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crab_core.engine.checks import check_able
from crab_core.engine.drawing import drawing_for
from crab_core.engine.run import run
from crab_core.engine.session import Model
from crab_core.errors import AudioMissing, InputError, ModelError
from crab_core.families._base import SharingNetwork
from crab_core.registry import TASKS
from crab_core.types import Decoding, Request, Result

SHORT = Decoding(max_new_tokens=24)


def request(clip: Path, task: str) -> Request:
    known = TASKS[task].load()
    question = "What is heard first?" if known.needs_question else None
    choices = ("dog", "cat") if known.chooses == "text" else (str(clip), str(clip)) if known.chooses else ()
    return Request(clip, task, question, at_s=(0.5,) if known.moment else (), choices=choices)


def can(model: Model, task: str) -> bool:
    """False for a task that the model must have learnt, or needs weights for, and does not have."""
    try:
        check_able(model.header, TASKS[task].load())
        drawing_for(model.header, model.masker, Request(Path("clip.mp4")), TASKS[task].load())
        return not isinstance(model.network, SharingNetwork) or model.network.sight(task) is not None
    except ModelError:
        return False


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest, model: Model) -> str:
    if not can(model, request.param):
        pytest.skip(f"'{model.name}' has no weights for '{request.param}'")
    return request.param


def test_a_task_gives_a_whole_result(model: Model, clips: dict[str, Path], task: str) -> None:
    result = model.infer(request(clips["both"], task))
    heard = "replaced" if TASKS[task].load().chooses == "audio" else "used"
    assert (result.model, result.task, result.audio, result.id) == (model.name, task, heard, "both.mp4")
    assert result.duration_s == pytest.approx(3.0, abs=0.1)
    assert all(event.end_s <= result.duration_s + 0.5 for event in result.events)
    drawn = {"masks"} if "masks" in TASKS[task].load().produces else set()
    assert set(result.timings_s) == {"check", "probe", "decode", "encode", "generate", "read"} | drawn
    document = json.loads(json.dumps(result.to_dict()))
    assert Result.from_dict(document).to_dict() == result.to_dict()


def test_the_same_request_gives_the_same_result(model: Model, clips: dict[str, Path], task: str) -> None:
    once, again = (model.infer(request(clips["both"], task), SHORT) for _ in range(2))
    assert (once.raw_text, once.answer, once.events) == (again.raw_text, again.answer, again.events)


def test_sampling_follows_the_seed(model: Model, clips: dict[str, Path]) -> None:
    warm = Decoding(max_new_tokens=16, temperature=1.5, seed=5)
    once, again = (model.infer(request(clips["both"], "avcap"), warm) for _ in range(2))
    assert once.raw_text == again.raw_text and once.seed == 5


def test_the_pieces_of_the_text_are_the_text(model: Model, clips: dict[str, Path], task: str) -> None:
    pieces: list[str] = []
    result = model.infer(request(clips["both"], task), SHORT, pieces.append)
    assert "".join(pieces).strip() == result.raw_text.strip()


def test_asking_a_seen_clip_equals_inferring(model: Model, clips: dict[str, Path], task: str) -> None:
    wanted = request(clips["both"], task)
    seen = model.look(clips["both"], task=task)
    wanted = replace(wanted, at_s=())
    answers = [seen.ask(wanted.question, task, SHORT, choices=wanted.choices).raw_text for _ in range(2)]
    assert answers == [model.infer(wanted, SHORT).raw_text] * 2


def test_text_is_no_longer_than_allowed(model: Model, clips: dict[str, Path], task: str) -> None:
    if model.name == "fake":
        pytest.skip("the fake network says what it is told")
    result = model.infer(request(clips["both"], task), Decoding(max_new_tokens=2))
    assert any("the text was cut after 2 tokens: raise --max-new-tokens" in note for note in result.notes)


def test_a_clip_without_sound(model: Model, clips: dict[str, Path], task: str) -> None:
    wanted = request(clips["mute"], task)
    if TASKS[task].load().listens or TASKS[task].load().compares:  # what it compares is the same clip
        with pytest.raises(AudioMissing):
            model.infer(wanted, SHORT)
        return
    result = model.infer(wanted, SHORT)
    assert result.audio == "absent" and "there is no sound track" in result.notes


def test_a_clip_without_pictures(model: Model, clips: dict[str, Path], task: str) -> None:
    wanted = request(clips["sound"], task)
    if TASKS[task].load().looks or TASKS[task].load().compares:
        with pytest.raises(InputError):
            model.infer(wanted, SHORT)
        return
    assert model.infer(wanted, SHORT).audio == "used"


def test_how_a_long_clip_is_looked_at_is_told(model: Model, clips: dict[str, Path], task: str) -> None:
    result = model.infer(request(clips["long"], task), SHORT)
    if TASKS[task].load().compares:
        assert any(note.startswith("1 is '") for note in result.notes)
        return
    if TASKS[task].load().moment:
        assert not any("sampled" in note for note in result.notes), "a moment is looked at where it is"
        return
    if TASKS[task].load().in_windows:
        assert "the clip lasts 24 s: it was looked at in 4 windows of 10 s, one every 5 s" in result.notes
        assert all(0 <= event.start_s < event.end_s <= 24.1 for event in result.events)
        return
    known = len(model.network.view(task, 24.0).frame_times_s)
    assert any(note.startswith(f"the clip lasts 24 s and the model knows {known} s") for note in result.notes)


@pytest.mark.parametrize("duration_s", [0.0, 0.04, 0.3, 2.5, 9.96, 10.0, 10.4, 25.0, 7200.0])
def test_a_view_lies_in_the_clip(model: Model, task: str, duration_s: float) -> None:
    view = model.network.view(task, duration_s)
    assert 1 <= len(view.frame_times_s) == len(view.sound_windows_s) <= 10
    assert all(0 <= time_s <= duration_s for time_s in view.frame_times_s)
    assert list(view.frame_times_s) == sorted(view.frame_times_s)
    assert (view.second_s > 1) == (duration_s > 11)


def test_a_batch_equals_one_at_a_time(model: Model, clips: dict[str, Path]) -> None:
    from crab_core.media import load_clip

    network, texts = model.network, []
    encoded, prompts = [], []
    for name, task in (("both", "avqa"), ("long", "avcap"), ("mute", "avvp")):
        view = network.view(task, 3.0)
        encoded.append(network.encode(load_clip(clips[name], view, frame_size=network.frame_size), task))
        wanted = request(clips[name], task)
        prompts.append(TASKS[task].load().wording(wanted.question, model.header.profile))
        texts.append(network.generate(encoded[-1], prompts[-1], SHORT).text)
    assert [one.text for one in network.generate_batch(encoded, prompts, SHORT)] == texts


def test_a_run_over_all_tasks_yields_one_outcome_each(model: Model, clips: dict[str, Path]) -> None:
    requests = [request(clips["both"], task) for task in sorted(TASKS)]
    outcomes = list(run(requests, model, SHORT))
    assert len(outcomes) == len(TASKS)
    done = [outcome.task for outcome in outcomes if isinstance(outcome, Result)]
    assert done == [task for task in sorted(TASKS) if can(model, task)]
