"""Progress is drawn on a terminal only, and it leaves nothing behind."""

from __future__ import annotations

import sys

import pytest

from crab_cli.bars import bars, spinner
from crab_cli.output import Output
from crab_core.progress import Note, Progress


def tell(listen) -> None:
    listen(Progress("synth", 1, 4, "clips", "a.mp4"))
    listen(Progress("synth", 4, 4, "clips", "b.mp4"))
    listen(Note("all is done"))


@pytest.mark.parametrize("draw", [bars, lambda output: spinner(output, "loading mini")], ids=["bars", "spinner"])
def test_no_terminal_no_drawing(draw, capsys: pytest.CaptureFixture[str]) -> None:
    with draw(Output(verbose=True)) as listen:
        tell(listen)
    assert capsys.readouterr() == ("", "all is done\n")


@pytest.mark.parametrize(
    ("draw", "words"),
    [(bars, ["synth b.mp4", "4/4"]), (lambda output: spinner(output, "loading mini"), ["loading mini"])],
    ids=["bars", "spinner"],
)
def test_a_terminal_sees_it(
    draw, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with draw(Output(verbose=True)) as listen:
        tell(listen)
    said = capsys.readouterr()
    assert said.out == "" and all(word in said.err for word in words) and "all is done\n" in said.err


def test_quiet_draws_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with bars(Output(quiet=True)) as listen:
        tell(listen)
    assert capsys.readouterr() == ("", "")
