"""`crab infer` inside one process, with a family that says what it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_family import FakeFamily, write_clip, write_model

from crab_core.types import Decoding, Result


def test_the_answer_is_alone_on_stdout(infer, clip: Path) -> None:
    said = infer(clip, "Who?")
    assert (said.code, said.out) == (0, "dog\n")
    assert said.err == "The dog is heard first.\n"


def test_quiet_says_the_answer_only(infer, clip: Path) -> None:
    said = infer(clip, "Who?", "-q")
    assert (said.out, said.err) == ("dog\n", "")


def test_verbose_says_what_was_chosen(infer, clip: Path) -> None:
    lines = infer(clip, "Who?", "-v").err.splitlines()
    assert lines[0].startswith("model 'fake' on cpu, float32, quantize none: asked for")
    assert lines[1].startswith("loaded in 0.")
    assert "generate 0." in lines[-1]


@pytest.mark.parametrize(
    ("task", "out"),
    [
        ("ave", "0\t2\tboth\tdog\n"),
        ("avvp", "0\t2\tvisual\tdog\n1\t3\taudio\tdog\n"),
        ("avcap", "a dog barks on the left .\n"),
    ],
)
def test_other_tasks(infer, clip: Path, task: str, out: str) -> None:
    said = infer(clip, "--task", task)
    assert (said.code, said.out) == (0, out)


def test_json_is_the_whole_result(infer, clip: Path) -> None:
    said = infer(clip, "--task", "ave", "--json", "--seed", 7)
    result = Result.from_dict(json.loads(said.out))
    assert (result.model, result.task, result.seed, result.audio) == ("fake", "ave", 7, "used")
    assert said.err == ""


def test_options_reach_the_model(infer, family: FakeFamily, clip: Path) -> None:
    infer(clip, "Who?", "--seed", 3, "--max-new-tokens", 9, "--temperature", 0.5, "--top-p", 0.9, "--no-reasoning")
    assert family.network.decodings == [Decoding(9, 0.5, 0.9, 3)]
    assert "briefly" in family.network.prompts[0].parts[-1].text


def test_precision_reaches_the_family(crab, family: FakeFamily, folder: Path, clip: Path) -> None:
    crab("infer", clip, "Who?", "-m", folder, "--device", "cpu", "--dtype", "bfloat16", "--quantize", "4bit")
    assert (family.loads[0].device, family.loads[0].dtype, family.loads[0].quantize) == ("cpu", "bfloat16", "4bit")


def test_sound_of_another_file(infer, clip: Path, tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "sound.mp4", pictures=False)
    assert json.loads(infer(clip, "Who?", "--audio", sound, "--json").out)["audio"] == "replaced"


def test_notes_go_to_stderr(infer, tmp_path: Path) -> None:
    said = infer(write_clip(tmp_path / "mute.mp4", sound=False), "Who?")
    assert said.out == "dog\n"
    assert "note: there is no sound track\n" in said.err


def test_files_are_written_on_request(infer, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    said = infer(clip, "--task", "avvp", "-o", out, "-f", "json", "-f", "tsv", "-f", "json")
    assert said.code == 0
    assert sorted(path.name for path in out.iterdir()) == ["clip.mp4.json", "clip.mp4.tsv"]
    assert Result.from_dict(json.loads((out / "clip.mp4.json").read_text())).task == "avvp"
    assert (out / "clip.mp4.tsv").read_text().splitlines()[:2] == ["start_s\tend_s\ttrack\tlabel", "0\t2\tvisual\tdog"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["-f", "html"], "crab: no format is called 'html'\n", id="unknown format"),
        pytest.param(["-o", "/dev/null"], "crab: cannot make the folder '/dev/null': File exists", id="a file"),
        pytest.param(["-o", "/proc/none"], "crab: cannot make the folder '/proc/none': No such file", id="no folder"),
    ],
)
def test_files_that_cannot_be_written(infer, clip: Path, tmp_path: Path, words: list[str], message: str) -> None:
    said = infer(clip, "Who?", "-o", tmp_path, *words)
    assert said.code == 2 and said.err.startswith(message) and said.out == ""


def test_windows_are_chosen(infer, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", 12.0)
    said = infer(long, "--task", "avvp", "--window", 4, "--stride", 4, "--json")
    assert [row.split("]")[0] for row in json.loads(said.out)["raw_text"].splitlines()] == [
        "[0-4 s",
        "[4-8 s",
        "[8-12 s",
    ]
    assert "it was looked at in 3 windows of 4 s, one every 4 s" in json.loads(said.out)["notes"][0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "avvp", "--window", 2, "--stride", 3], "windows of '2' s every '3' s leave seconds out"),
        (["--task", "avcap", "--window", 2], "--window is for tasks that tell events, got task 'avcap'"),
        (["--task", "avvp", "--window", "nan"], "nan is not a number"),
        (["--task", "avvp", "--stride", 0], "0.0 is not in the range"),
    ],
)
def test_windows_that_cannot_be(infer, family: FakeFamily, clip: Path, words: list[object], message: str) -> None:
    said = infer(clip, *words)
    assert said.code == 2 and message in said.err and family.loads == []


def test_a_file_is_replaced_only_if_asked(infer, family: FakeFamily, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert infer(clip, "Who?", "-o", out).code == 0
    said = infer(clip, "Who?", "-o", out)
    assert said.code == 2 and said.err.startswith(f"crab: '{out / 'clip.mp4.json'}' is there already\n")
    assert len(family.loads) == 1
    assert infer(clip, "Who?", "-o", out, "--overwrite").code == 0


def test_a_format_that_the_task_cannot_fill_is_refused(infer, family: FakeFamily, clip: Path, tmp_path: Path) -> None:
    said = infer(clip, "Who?", "-o", tmp_path / "out", "-f", "srt")
    assert said.code == 2 and said.err.startswith("crab: format 'srt' holds events, and the task gives answer\n")
    assert family.loads == []
    assert infer(clip, "Who?", "-o", tmp_path / "out", "-f", "all").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mp4.json"]


def test_every_format_of_events(infer, clip: Path, tmp_path: Path) -> None:
    assert infer(clip, "--task", "avvp", "-o", tmp_path / "out", "-f", "all").code == 0
    ends = ("csv", "eaf", "json", "labels.txt", "labelstudio.json", "srt", "tsv", "vtt")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"clip.mp4.{end}" for end in ends]


def test_a_format_needs_a_folder(infer, clip: Path) -> None:
    said = infer(clip, "Who?", "-f", "tsv")
    assert (said.code, said.err) == (
        2,
        "crab: --format 'tsv' writes files, and no folder was given\n      Give one: --out DIR\n",
    )


def test_a_full_disk_is_a_resource_error(infer, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4.json").mkdir()
    said = infer(clip, "Who?", "-o", tmp_path, "--overwrite")
    assert said.code == 5 and "cannot write" in said.err


def test_a_model_that_writes_nothing_has_failed(infer, family: FakeFamily, clip: Path) -> None:
    family.network.says["avqa"] = " "
    said = infer(clip, "Who?", "-q")
    assert said.code == 4
    assert said.err.startswith("crab: model 'fake' wrote nothing about 'clip.mp4'\n")


def test_mistakes_are_told_before_the_model_is_loaded(infer, family: FakeFamily, tmp_path: Path) -> None:
    assert infer(tmp_path / "none.mp4", "Who?").code == 3
    assert infer(tmp_path / "none.mp4").code == 2
    assert family.loads == []


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        pytest.param(KeyboardInterrupt(), 130, "crab: interrupted\n", id="ctrl-c"),
        pytest.param(MemoryError(), 5, "crab: memory ran out while answering about", id="memory"),
        pytest.param(ZeroDivisionError("odd"), 1, "crab: unexpected ZeroDivisionError: odd\n      Run it", id="bug"),
    ],
)
def test_what_goes_wrong_inside(
    infer, family: FakeFamily, clip: Path, error: BaseException, code: int, message: str
) -> None:
    family.network.says["avqa"] = error
    said = infer(clip, "Who?")
    assert said.code == code and said.err.startswith(message) and "Traceback" not in said.err and said.out == ""


def test_damaged_weights(crab, family: FakeFamily, clip: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1] + b"\x01")
    said = crab("infer", clip, "Who?", "-m", folder)
    assert said.code == 4 and "is damaged: sha256" in said.err and len(said.err.splitlines()) == 2
    assert family.loads == []


def test_a_full_disk_does_not_cost_the_answer(
    infer, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    said = infer(clip, "Who?", "-o", tmp_path / "out")
    assert (said.code, said.out) == (5, "dog\n")
    assert "No space left on device" in said.err
