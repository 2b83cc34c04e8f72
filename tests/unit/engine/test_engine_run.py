"""A bad clip never ends a run and never hides in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_family import FakeFamily

from crab_core.engine.run import run
from crab_core.engine.session import load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.progress import Note, Progress
from crab_core.types import Failure, Request, Result


def test_results_and_failures_come_in_order(folder: Path, clip: Path, tmp_path: Path) -> None:
    heard: list[Progress | Note] = []
    requests = [
        Request(clip, "avcap"),
        Request(tmp_path / "none.mp4", "avcap"),
        Request(clip, "avqa"),
        Request(clip, "ave"),
    ]
    outcomes = list(run(requests, load(folder, device="cpu"), on_progress=heard.append))
    assert [type(outcome) for outcome in outcomes] == [Result, Failure, Failure, Result]
    missing, unasked = outcomes[1], outcomes[2]
    assert isinstance(missing, Failure) and isinstance(unasked, Failure)
    assert (missing.request, missing.stage, missing.error_type) == (requests[1], "probe", "InputError")
    assert "none.mp4" in missing.message
    assert (unasked.stage, unasked.error_type) == ("check", "UsageError")
    assert [one.done for one in heard if isinstance(one, Progress)] == [1, 2, 3, 4]


def test_a_surprise_is_a_failure_too(folder: Path, family: FakeFamily, clip: Path) -> None:
    family.network.says["avcap"] = ZeroDivisionError()
    (outcome,) = run([Request(clip, "avcap")], load(folder, device="cpu"))
    assert outcome == Failure(Request(clip, "avcap"), "generate", "ZeroDivisionError", "ZeroDivisionError")


def test_interrupting_ends_the_run(folder: Path, family: FakeFamily, clip: Path) -> None:
    family.network.says["avcap"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        list(run([Request(clip, "avcap")], load(folder, device="cpu")))


def test_the_stopwatch_sums_stages_and_keeps_the_one_that_failed() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch("a"):
            pass
    with pytest.raises(ZeroDivisionError), watch("b"):
        raise ZeroDivisionError
    assert list(watch.spent_s) == ["a", "b"] and watch.stage == "b"
