"""stdout is the answer, stderr is the talk; a terminal sees reasoning dim and the answer bold."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import pytest

from crab_cli.output import BOLD, DIM, PLAIN, Output, Streamed, table
from crab_core.progress import Note, Progress
from crab_core.registry import TASKS
from crab_core.types import Answer, Event, Result

RESULT = Result(
    id="a.mp4",
    model="fake",
    task="avqa",
    question="which?",
    answer=Answer("dog", "The dog is heard."),
    events=(),
    boxes=(),
    raw_text="The dog is heard. <answer> dog </answer>",
    audio="used",
    duration_s=10.0,
    seconds=0.5,
    timings_s={"encode": 0.25},
    notes=("a note",),
)
EVENTS = replace(RESULT, task="ave", events=(Event("dog", 0.0, 2.5), Event("a\tcat", 3.0, 4.0, "audio")))


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both streams are a terminal that knows styles; called in the test, when pytest has put its streams in place."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)


def test_a_pipe_gets_the_answer_only(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result(RESULT)
    said = capsys.readouterr()
    assert said.out == "dog\n"
    assert said.err == "The dog is heard.\nnote: a note\n"


def test_quiet_leaves_stderr_empty(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True, verbose=True)
    output.listen(Note("on cpu"))
    output.result(RESULT)
    assert capsys.readouterr() == ("dog\n", "")


def test_verbose_tells_the_times(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(verbose=True)
    output.listen(Note("on cpu"))
    output.listen(Progress("load", 1, 1))
    output.result(RESULT)
    assert capsys.readouterr().err == "on cpu\nThe dog is heard.\nnote: a note\n0.50 s: encode 0.25 s\n"


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).result(RESULT)
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(RESULT.to_dict()))


def test_events_are_tab_separated_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().result(EVENTS)
    assert capsys.readouterr().out == "0\t2.5\tboth\tdog\n3\t4\taudio\ta\\tcat\n"


def test_events_are_aligned_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_terminal(monkeypatch)
    Output().result(EVENTS)
    assert capsys.readouterr().out.splitlines() == [
        "start_s  end_s  track  label",
        "0        2.5    both   dog",
        "3        4      audio  a\\tcat",
    ]


def test_reasoning_streams_dim_and_the_answer_stands_bold(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(monkeypatch)
    output = Output()
    heard = output.stream(TASKS["avqa"].load())
    assert heard is not None
    for piece in (" The dog", " is heard.", " <ans", "wer> dog", " </answer>"):
        heard(piece)
    output.result(RESULT)
    said = capsys.readouterr()
    assert said.out == f"{BOLD}dog{PLAIN}\n"
    assert said.err == f"{DIM}The dog{PLAIN}{DIM} is heard.{PLAIN}\nnote: a note\n"


def test_a_caption_streams_to_stdout_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    on_terminal(monkeypatch)
    output = Output()
    heard = output.stream(TASKS["avcap"].load())
    assert heard is not None
    heard("a dog ")
    heard("barks")
    output.result(replace(RESULT, task="avcap", answer=Answer("a dog barks"), notes=()))
    assert capsys.readouterr() == (f"{BOLD}a dog{PLAIN}{BOLD} barks{PLAIN}\n", "")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_styles_where_they_are_not_wanted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(monkeypatch)
    monkeypatch.setenv(name, value)
    Output().result(RESULT)
    assert capsys.readouterr() == ("dog\n", "The dog is heard.\nnote: a note\n")


@pytest.mark.parametrize("changes", [{}, {"quiet": True}, {"as_json": True}], ids=["pipe", "quiet", "json"])
def test_nothing_streams_when_nobody_watches(changes: dict[str, bool]) -> None:
    assert Output(**changes).stream(TASKS["avqa"].load()) is None


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        pytest.param(["a", " b "], "a b\n", id="blanks at the end wait"),
        pytest.param(["a <x>", "b"], "a\n", id="nothing after a tag"),
        pytest.param(["<x>", "b"], "", id="tag first"),
        pytest.param(["  ", " a"], "a\n", id="blanks at the start are dropped"),
    ],
)
def test_streamed_text(pieces: list[str], shown: str) -> None:
    target = io.StringIO()
    streamed = Streamed(target, DIM)
    for piece in pieces:
        streamed(piece)
    streamed.end()
    assert target.getvalue() == shown


def test_a_table_without_rows_has_its_header_on_a_terminal_only() -> None:
    assert table(("a", "b"), [], aligned=True) == ["a  b"]
    assert table(("a", "b"), [], aligned=False) == []
