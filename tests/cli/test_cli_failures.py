"""Every exception becomes one or two lines and an exit code."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import typer

from crab_cli.failures import explain, one_line, told
from crab_core import errors


class OutOfMemoryError(RuntimeError):
    """Stands for torch's error of that name."""


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        pytest.param(errors.InputError("no file 'a.mp4'", hint="Check it."), "no file 'a.mp4'", 3, id="input"),
        pytest.param(errors.ModelError("no model 'x'"), "no model 'x'", 4, id="model"),
        pytest.param(typer.Abort(), "interrupted", 130, id="abort"),
        pytest.param(KeyboardInterrupt(), "interrupted", 130, id="ctrl-c"),
        pytest.param(MemoryError(), "memory ran out", 5, id="python memory"),
        pytest.param(OutOfMemoryError("CUDA out of memory"), "memory ran out", 5, id="gpu memory"),
        pytest.param(RuntimeError("can't allocate memory: you tried"), "memory ran out", 5, id="cpu allocation"),
        pytest.param(
            OSError(errno.ENOSPC, "No space left on device", "x"), "no space left on device 'x'", 5, id="disk"
        ),
        pytest.param(OSError(errno.EACCES, "Permission denied", "x"), "permission denied 'x'", 3, id="permission"),
        pytest.param(RuntimeError("odd"), "unexpected RuntimeError: odd", 1, id="a bug"),
    ],
)
def test_exit_code_and_message(error: BaseException, message: str, code: int) -> None:
    assert explain(error)[0] == message
    assert explain(error)[2] == code


def test_two_lines_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(errors.InputError("no file 'a\nb\x1b[0m.mp4'", hint="Check 'a\nb'.")) == 3
    assert capsys.readouterr().err == "crab: no file 'a\\nb\\x1b[0m.mp4'\n      Check 'a\\nb'.\n"


def test_every_mistake_of_a_configuration_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(errors.ConfigError("a.yaml", ["lr: bad", "steps: bad"])) == 2
    assert capsys.readouterr().err == "crab: 2 mistakes in 'a.yaml'\n      lr: bad\n      steps: bad\n"


def test_an_undecodable_name_is_escaped() -> None:
    assert one_line(str(Path("caf\udce9.mp4"))) == "caf\\udce9.mp4"
    assert one_line("übergröße 日本.mp4") == "übergröße 日本.mp4"


@pytest.mark.parametrize(("value", "traced"), [("1", True), ("0", False), ("", False)])
def test_the_trace_comes_only_when_asked_for(
    value: str, traced: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CRAB_DEBUG", value)
    told(RuntimeError("odd"))
    assert capsys.readouterr().err.startswith("crab: ") != traced
