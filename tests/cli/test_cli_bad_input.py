"""Bad input: an exit code and one or two lines, never a trace; odd but good input: an answer."""

from __future__ import annotations

import os
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from fake_family import write_clip

Make = Callable[[Path], Path]


def with_bytes(data: bytes, name: str = "bad.mp4") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def truncated(folder: Path) -> Path:
    whole = write_clip(folder / "whole.mp4").read_bytes()
    return with_bytes(whole[: len(whole) // 2])(folder)


def looped(folder: Path) -> Path:
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    return folder / "loop.mp4"


def hollow(folder: Path) -> Path:
    with wave.open(str(folder / "hollow.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
    return folder / "hollow.wav"


def picture(width: int, height: int) -> Make:
    def make(folder: Path) -> Path:
        path = folder / f"{width}x{height}.png"
        with av.open(path, "w", format="image2") as container:
            stream = container.add_stream("png", rate=1, width=width, height=height, pix_fmt="gray")
            frame = av.VideoFrame.from_ndarray(np.zeros((height, width), np.uint8), format="gray")
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return make


def broken_in_the_middle(folder: Path) -> Path:
    data = bytearray(write_clip(folder / "whole.mp4", seconds=8).read_bytes())
    start = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 3
    data[start : start + 400] = bytes(400)
    return with_bytes(bytes(data), "broken.mp4")(folder)


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        pytest.param(lambda folder: folder / "none.mp4", 3, "none.mp4'", id="missing file"),
        pytest.param(lambda folder: folder, 2, "is many clips, and no folder was given", id="directory"),
        pytest.param(with_bytes(b""), 3, "bad.mp4' is empty", id="empty file"),
        pytest.param(with_bytes(b"Dear diary, this is no film.\n" * 50), 3, "bad.mp4'", id="text named mp4"),
        pytest.param(truncated, 3, "bad.mp4'", id="truncated mp4"),
        pytest.param(looped, 3, "loop.mp4'", id="file that cannot be opened"),
        pytest.param(hollow, 3, "no sound can be decoded from '", id="sound of no length"),
        pytest.param(lambda folder: folder / "a\nb\x1b[2J.mp4", 3, r"a\nb\x1b[2J.mp4", id="newline in a missing name"),
    ],
)
def test_a_file_that_cannot_be_used(infer, tmp_path: Path, make: Make, code: int, words: str) -> None:
    said = infer(make(tmp_path), "Who?")
    assert said.code == code and said.out == ""
    assert words in said.err
    first, *rest = said.err.splitlines()
    assert first.startswith("crab: ") and len(rest) <= 1 and all(line.startswith("      ") for line in rest)


@pytest.mark.parametrize("command", ["infer", "visualize-heads"])
def test_an_empty_path_is_not_the_current_folder(crab, command: str) -> None:
    said = crab(command, "", "Who?")
    assert (said.code, said.out) == (2, "")
    assert "'CLIP': the path is empty" in said.err and f"crab {command} --help" in said.err


def test_a_file_that_may_not_be_read(infer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "locked.mp4")
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, who may read everything
    said = infer(path, "Who?")
    assert (said.code, said.out) == (3, "")
    assert said.err == f"crab: '{path}' may not be read (permission denied)\n      Allow it: chmod u+r {path}\n"


def test_a_sound_or_a_configuration_that_may_not_be_read(
    crab, infer, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.yaml").write_text("name: x")
    sound = write_clip(tmp_path / "sound.m4a", pictures=False)
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).suffix not in (".yaml", ".m4a"))
    assert "sound.m4a' may not be read" in infer(clip, "Who?", "--audio", sound).err
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    said = crab("train", tmp_path / "run.yaml")
    assert said.code == 3 and "cannot read" in said.err and "Permission denied" in said.err


def test_a_device_that_is_not_there(crab, folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = crab("infer", clip, "Who?", "--model", folder, "--device", "cuda")
    assert (said.code, said.out) == (5, "")
    assert said.err == "crab: the device 'cuda' is not there: no GPU was found\n      Use --device cpu.\n"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda folder: write_clip(folder / "übung 日本 'x'.mp4"), id="unicode and quotes in the name"),
        pytest.param(lambda folder: write_clip(folder / "two\nlines.mp4"), id="newline in the name"),
        pytest.param(lambda folder: write_clip(folder / "-q.mp4"), id="name like an option"),
        pytest.param(lambda folder: write_clip(folder / "one.mp4", seconds=0.25, sound=False), id="one frame"),
        pytest.param(lambda folder: write_clip(folder / "sound.m4a", pictures=False), id="sound only"),
        pytest.param(picture(1, 1), id="1 x 1 pixel"),
        pytest.param(picture(7680, 4320), id="8K"),
    ],
)
def test_an_odd_file_is_answered(infer, tmp_path: Path, make: Make) -> None:
    said = infer(make(tmp_path), "Who?")
    assert (said.code, said.out) == (0, "dog\n")
    assert "Traceback" not in said.err


def test_a_broken_packet_is_told_and_the_rest_is_used(infer, tmp_path: Path) -> None:
    said = infer(broken_in_the_middle(tmp_path), "Who?")
    assert (said.code, said.out) == (0, "dog\n")
    assert "could not be decoded near" in said.err


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        pytest.param(
            ["", "-q"],
            2,
            "task 'avqa' needs a question, got ''",
            "clip.mp4 'What is heard first?'",
            id="empty question",
        ),
        pytest.param(["?" * 100_000], 2, "the question has 100000 characters, at most 4000", "begins", id="100 kB"),
        pytest.param([], 2, "task 'avqa' needs a question", "clip.mp4 'What is heard first?'", id="no question"),
        pytest.param(["q", "--task", "avqaa"], 2, "no task is called 'avqaa'", "Did you mean 'avqa'?", id="task"),
        pytest.param(["q", "--model", "minni"], 4, "no model is called 'minni'", "Did you mean 'mini'?", id="model"),
        pytest.param(["q", "--model", "crab-7b"], 4, "is not on this machine", "--model mini", id="published model"),
        pytest.param(["q", "--model", ""], 2, "the model's name is empty", "crab models list", id="empty model"),
        pytest.param(["q", "--audio", ""], 2, "the path is empty", "crab infer --help", id="empty sound path"),
        pytest.param(["q", "--device", "gpu"], 2, "no device is called 'gpu'", "cuda:N", id="device"),
        pytest.param(["q", "--dtype", "int8"], 2, "'--dtype': 'int8' is not one of", "crab infer --help", id="dtype"),
        pytest.param(
            ["q", "--quantize", "1"], 2, "'--quantize': '1' is not one of", "crab infer --help", id="quantize"
        ),
        pytest.param(["q", "--seed", "-1"], 2, "'--seed': -1 is not in the range", "crab infer --help", id="seed"),
        pytest.param(["q", "--max-new-tokens", "0"], 2, "0 is not in the range 1<=x<=4096", "--help", id="no tokens"),
        pytest.param(["q", "--temperature", "-1"], 2, "-1.0 is not in the range", "--help", id="temperature"),
        pytest.param(["q", "--temperature", "nan"], 2, "'--temperature': nan is not a number", "--help", id="nan"),
        pytest.param(["q", "--top-p", "nan"], 2, "'--top-p': nan is not a number", "--help", id="nan top-p"),
        pytest.param(["q", "--top-p", "2"], 2, "2.0 is not in the range", "--help", id="top-p"),
        pytest.param(["q", "--seed", "x"], 2, "'x' is not a valid int", "--help", id="no number"),
        pytest.param(
            ["q", "--modle", "mini"], 2, "no such option: --modle", "Did you mean --compile or --model?", id="option"
        ),
        pytest.param(["q", "more"], 2, "got unexpected extra argument(s) (more)", "crab infer --help", id="extra word"),
    ],
)
def test_words_that_cannot_be_used(crab, clip: Path, words: list[str], code: int, message: str, hint: str) -> None:
    said = crab("infer", clip, *words)
    assert said.code == code and said.out == ""
    first, second = said.err.splitlines()
    assert first.startswith("crab: ") and message in first
    assert second.startswith("      ") and hint in second


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        pytest.param(["infr"], "no such command 'infr'", "Did you mean 'infer'?", id="near command"),
        pytest.param(["models", "lst"], "no such command 'lst'", "Did you mean 'list'?", id="near sub-command"),
        pytest.param(["dance"], "no such command 'dance'", "crab --help", id="far command"),
        pytest.param(["infer"], "missing argument 'CLIP'", "crab infer --help", id="no clip"),
        pytest.param(["data", "synth"], "missing option '--out'", "crab data synth --help", id="no folder"),
        pytest.param(["models", "info", "minni"], "no model is called 'minni'", "Did you mean 'mini'?", id="model"),
        pytest.param(["train", "none.yaml"], "cannot read 'none.yaml'", "Check the path", id="no settings"),
    ],
)
def test_commands_that_cannot_be_used(crab, words: list[str], message: str, hint: str) -> None:
    said = crab(*words)
    assert said.code in (2, 3, 4) and said.out == ""
    first, second = said.err.splitlines()
    assert message in first and hint in second
