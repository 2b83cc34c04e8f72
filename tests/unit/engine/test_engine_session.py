"""A model is loaded by name or folder, looks at a clip once and is asked many times."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_family import SAYS, FakeFamily, write_clip, write_model

from crab_core.engine.session import Model, load
from crab_core.errors import AudioMissing, InputError, ModelError, ResourceError, UsageError
from crab_core.progress import Note, Progress
from crab_core.types import Answer, Decoding, Event, Request


@pytest.fixture
def model(folder: Path) -> Model:
    return load(folder, device="cpu")


def test_loading_is_told(folder: Path, family: FakeFamily) -> None:
    heard: list[Progress | Note] = []
    model = load(folder, device="cpu", on_progress=heard.append)
    assert model.name == model.header.name == "fake"
    assert [type(one) for one in heard] == [Progress, Progress, Note]
    assert heard[-1] == Note("model 'fake' on cpu, float32, quantize none: asked for; CPUs compute float32 fastest")
    assert family.loads[0].device == "cpu" and family.loads[0].dtype == "float32"


def test_a_wording_that_nobody_knows_is_the_models_fault(family: FakeFamily, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="learnt an unknown wording 'trian'") as caught:
        load(write_model(tmp_path / "odd", profile="trian"), device="cpu")
    assert caught.value.hint == "Did you mean 'train'?"
    assert family.loads == []


@pytest.mark.parametrize(
    ("task", "question", "answer", "events"),
    [
        pytest.param("avqa", "Who?", Answer("dog", "The dog is heard first."), (), id="avqa"),
        pytest.param("ave", None, None, (Event("dog", 0.0, 2.0, "both"),), id="ave"),
        pytest.param(
            "avvp", None, None, (Event("dog", 0.0, 2.0, "visual"), Event("dog", 1.0, 3.0, "audio")), id="avvp"
        ),
        pytest.param("avcap", None, Answer("a dog barks on the left ."), (), id="avcap"),
    ],
)
def test_every_task_gives_its_result(
    model: Model, clip: Path, task: str, question: str | None, answer: Answer | None, events: tuple[Event, ...]
) -> None:
    result = model.infer(Request(clip, task, question), Decoding(seed=4))
    assert result.events == events
    assert answer is None or result.answer == answer
    assert (result.id, result.model, result.task, result.question) == ("clip.mp4", "fake", task, question)
    assert (result.audio, result.duration_s, result.seed) == ("used", 3.0, 4)
    assert result.raw_text == SAYS[task]
    assert list(result.timings_s) == ["check", "probe", "decode", "encode", "generate", "read"]
    assert 0 < sum(result.timings_s.values()) <= result.seconds
    assert result.notes == ()


def test_the_network_gets_the_clip_that_it_asked_for(model: Model, family: FakeFamily, clip: Path) -> None:
    model.infer(Request(clip, "ave"))
    seen = family.network.clips[0]
    assert seen.frames.shape == (3, 8, 8, 3) and seen.size == (32, 24)
    assert seen.sound_windows_s == ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0))


def test_a_clip_is_encoded_once_a_task(model: Model, family: FakeFamily, clip: Path) -> None:
    seen = model.look(clip)
    first, second = seen.ask("Who?"), seen.ask("Where?")
    assert len(family.network.clips) == 1
    assert (first.question, second.question) == ("Who?", "Where?")
    assert "encode" not in second.timings_s
    seen.ask(task="ave")
    seen.ask(task="avvp")
    assert len(family.network.clips) == 3
    assert family.network.clips[1] is family.network.clips[2], "the same view is decoded once"


def test_asking_without_words_does_the_task_looked_for(model: Model, clip: Path) -> None:
    assert model.look(clip, task="ave").ask().task == "ave"


def test_asking_twice_gives_the_same_as_inferring(model: Model, clip: Path) -> None:
    seen = model.look(clip)
    assert seen.ask("Who?").answer == seen.ask("Who?").answer == model.infer(Request(clip, "avqa", "Who?")).answer


def test_text_is_told_while_it_is_written(model: Model, clip: Path) -> None:
    pieces: list[str] = []
    result = model.infer(Request(clip, "avcap"), on_text=pieces.append)
    assert "".join(pieces).strip() == result.raw_text


def test_reasoning_is_asked_for_by_the_wording(model: Model, family: FakeFamily, clip: Path) -> None:
    model.infer(Request(clip, "avqa", "Who?"))
    model.infer(Request(clip, "avqa", "Who?", reasoning=False))
    with_reasons, without = (prompt.parts[-1].text for prompt in family.network.prompts)
    assert "briefly" in without and "briefly" not in with_reasons


def test_decoding_defaults_to_the_task(model: Model, family: FakeFamily, clip: Path) -> None:
    model.infer(Request(clip, "avcap"))
    assert family.network.decodings == [Decoding(max_new_tokens=256)]


def test_sound_of_another_file_replaces_it(model: Model, clip: Path, tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "sound.mp4", pictures=False)
    assert model.infer(Request(clip, "ave", audio_path=sound)).audio == "replaced"
    assert model.look(clip, audio_path=str(sound), task="ave").ask().audio == "replaced"


@pytest.mark.parametrize(
    ("task", "changes", "words", "hint"),
    [
        pytest.param("ave", {}, "and task 'ave' listens", "--audio FILE", id="a task that listens"),
        pytest.param(
            "avcap", {"require_audio": True}, "--require-audio was given", "--audio FILE", id="the user insists"
        ),
    ],
)
def test_lacking_sound_is_an_error_with_its_cure(
    model: Model, tmp_path: Path, task: str, changes: dict[str, bool], words: str, hint: str
) -> None:
    mute = write_clip(tmp_path / "mute.mp4", sound=False)
    with pytest.raises(AudioMissing) as caught:
        model.infer(Request(mute, task, **changes))
    assert "mute.mp4" in caught.value.message and words in caught.value.message
    assert hint in str(caught.value.hint)


def test_lacking_sound_is_a_note_elsewhere(model: Model, tmp_path: Path) -> None:
    result = model.infer(Request(write_clip(tmp_path / "mute.mp4", sound=False), "avcap"))
    assert result.audio == "absent"
    assert "there is no sound track" in result.notes


def test_a_task_that_looks_refuses_a_sound_file(model: Model, tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "sound.mp4", pictures=False)
    with pytest.raises(InputError, match="no picture in '.*sound.mp4', and task 'ave' looks"):
        model.infer(Request(sound, "ave"))
    assert model.infer(Request(sound, "avcap")).audio == "used"


def test_a_long_clip_is_sampled_for_one_answer(model: Model, tmp_path: Path) -> None:
    result = model.infer(Request(write_clip(tmp_path / "long.mp4", seconds=20), "avqa", "Who?"))
    assert result.notes == ("the clip lasts 20 s and the model knows 10 s: it was sampled at 10 places, 2.0 s apart",)


@pytest.mark.parametrize(
    ("stopped", "cure"),
    [
        ("length", "raise --max-new-tokens"),
        ("positions", "the model has no more positions, a shorter question leaves more"),
    ],
)
def test_text_that_was_cut_is_told(model: Model, family: FakeFamily, clip: Path, stopped: str, cure: str) -> None:
    family.network.stopped = stopped
    assert model.infer(Request(clip, "avcap")).notes == (f"the text was cut after 7 tokens: {cure}",)


def test_text_that_cannot_be_read_is_told(model: Model, family: FakeFamily, clip: Path) -> None:
    family.network.says["ave"] = "<event> dog </event> <range> later </range>"
    result = model.infer(Request(clip, "ave"))
    assert result.events == () and result.notes


@pytest.mark.usefixtures("family")
def test_a_model_says_what_it_is_with_every_result(tmp_path: Path, clip: Path) -> None:
    model = load(write_model(tmp_path / "small", note="mini is a demonstration", tasks=["avqa"]), device="cpu")
    notes = model.infer(Request(clip, "avcap")).notes
    assert notes == ("model 'fake' was not trained on task 'avcap', only on avqa", "mini is a demonstration")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        pytest.param({"question": None}, "task 'avqa' needs a question", id="no question"),
        pytest.param({"question": "  "}, "needs a question, got '  '", id="blank question"),
        pytest.param({"question": "x" * 4001}, "the question has 4001 characters", id="long question"),
        pytest.param({"task": "ave", "question": "Who?"}, "task 'ave' takes no question, got 'Who?'", id="unwanted"),
        pytest.param({"task": "avqaa", "question": "Who?"}, "no task is called 'avqaa'", id="unknown task"),
    ],
)
def test_a_wrong_request_is_refused(model: Model, clip: Path, request_: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        model.infer(Request(clip, **request_))
    assert words in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")],
    ids=["python", "torch"],
)
def test_running_out_of_memory_is_a_resource_error(
    model: Model, family: FakeFamily, clip: Path, error: BaseException
) -> None:
    family.network.says["avcap"] = error
    with pytest.raises(ResourceError, match="memory ran out while answering about '.*clip.mp4'"):
        model.infer(Request(clip, "avcap"))


def test_running_out_of_memory_while_loading(folder: Path, family: FakeFamily) -> None:
    family.fails = MemoryError()
    with pytest.raises(ResourceError, match="memory ran out while loading the model 'fake'"):
        load(folder, device="cpu")


def test_another_error_stays_what_it_is(model: Model, family: FakeFamily, clip: Path) -> None:
    family.network.says["avcap"] = ZeroDivisionError("odd")
    with pytest.raises(ZeroDivisionError):
        model.infer(Request(clip, "avcap"))


@pytest.mark.usefixtures("family")
@pytest.mark.parametrize(
    ("name", "words", "hint"),
    [
        pytest.param("minni", "no model is called 'minni'", "Did you mean 'mini'?", id="near name"),
        pytest.param("zzz", "no model is called 'zzz'", "Every model: mini", id="far name"),
        pytest.param("no/where", "no model folder 'no/where'", "crab models list", id="missing folder"),
        pytest.param(".", "the folder '.' is no model: it has no crab.json", "crab models list", id="no header"),
        pytest.param("crab-7b", "'crab-7b' is not on this machine", "--model mini", id="published model"),
    ],
)
def test_an_unknown_model_is_refused(name: str, words: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        load(name)
    assert words in caught.value.message and hint in str(caught.value.hint)


@pytest.mark.usefixtures("family")
def test_an_unknown_family_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is of an unknown family 'crabs'") as caught:
        load(write_model(tmp_path / "odd", family="crabs"))
    assert caught.value.hint == "Did you mean 'crab'?"
