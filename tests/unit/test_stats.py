"""Parts of an answer do not overlap, and cost nothing when nobody asks."""

from __future__ import annotations

import threading

import pytest

from crab_core import stats
from crab_core.engine.stopwatch import Stopwatch
from crab_core.stats import FIRST, Stats, asked, collecting, count, part


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [100.0]
    monkeypatch.setattr(stats.time, "perf_counter", lambda: now[0])
    return now


def test_while_an_inner_part_runs_the_outer_one_stands_still(clock: list[float]) -> None:
    with collecting() as found:
        found._since = clock[0]
        clock[0] += 1
        with part("encode"):
            clock[0] += 2
            with part("fbank"):
                clock[0] += 4
            clock[0] += 8
        with part("prefill"):
            clock[0] += 16
            found.turn("decode")
            clock[0] += 32
        clock[0] += 64
    assert found.seconds == {"other": 65, "encode": 10, "fbank": 4, "prefill": 16, "decode": 32}
    assert sum(found.seconds.values()) == clock[0] - 100


def test_a_part_that_fails_is_over(clock: list[float]) -> None:
    with pytest.raises(ValueError, match="no"), collecting() as found:
        found._since = clock[0]
        with part("mask"):
            clock[0] += 3
            raise ValueError("no")
    assert found.seconds["mask"] == 3 and asked() is None


def test_a_device_is_waited_for_at_every_change(clock: list[float]) -> None:
    waits: list[float] = []
    with collecting(lambda: waits.append(clock[0])) as found, part("encode"):
        clock[0] += 1
        found.turn("decode")
    assert len(waits) >= 3


def test_nobody_asks() -> None:
    count(new_tokens=5)
    with part("encode"):
        assert asked() is None


def test_other_threads_are_not_measured() -> None:
    heard: list[Stats | None] = []
    with collecting():
        thread = threading.Thread(target=lambda: heard.append(asked()))
        thread.start()
        thread.join()
    assert heard == [None]


def test_stages_of_a_request_are_parts(clock: list[float]) -> None:
    watch = Stopwatch()
    with collecting() as found:
        for stage, spent in (("probe", 1), ("decode", 2), ("encode", 4), ("generate", 8), ("masks", 16), ("read", 32)):
            with watch(stage):
                clock[0] += spent
    parts = {name: seconds for name, seconds in found.seconds.items() if name != "other"}
    assert parts == {"media": 3, "encode": 4, "prefill": 8, "mask": 16}


@pytest.mark.parametrize(
    ("counts", "decode_s", "speed"),
    [
        pytest.param({"new_tokens": 11, FIRST: 1}, 2.0, 5.0, id="after the first"),
        pytest.param({"new_tokens": 1, FIRST: 1}, 2.0, None, id="only the first"),
        pytest.param({"new_tokens": 11, FIRST: 1}, 0.0, None, id="no time"),
        pytest.param({}, 0.0, None, id="nothing"),
    ],
)
def test_tokens_a_second(counts: dict[str, int], decode_s: float, speed: float | None) -> None:
    found = Stats(seconds={"decode": decode_s}, counts=counts)
    assert found.tokens_per_s() == speed
    assert found.to_dict()["tokens_per_s"] == speed
    assert set(found.to_dict()) == {
        *("seconds", "prompt_tokens", "reused_tokens", "new_tokens", "tokens_per_s", "peak_memory_bytes")
    }
