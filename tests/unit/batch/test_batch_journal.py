"""The journal: whole rows only, whoever writes, whatever breaks."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crab_core.batch import journal as journal_module
from crab_core.batch.journal import Journal, copied_row, error_row, line, read_results, result_row
from crab_core.batch.keys import Key, content, key_of, name_of, unread_key_of
from crab_core.errors import ResourceError
from crab_core.files import replace_file
from crab_core.types import Answer, Failure, Request, Result


def key(number: int, name: str = "a") -> Key:
    return Key(f"{number:024x}", name_of(name))


def result(name: str = "a", text: str = "dog", seconds: float = 1.5) -> Result:
    answer = Answer(text)
    return Result(name, "mini", "avqa", "Who?", answer, (), (), text, "used", 2.0, seconds, {"decode": seconds})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_what_is_recorded_is_known_to_the_next(out: Path) -> None:
    first = Journal(out)
    first.record([result_row(key(1), result())], [error_row(key(2), Failure(Request(Path("b")), "probe", "E", "no"))])
    first.close()
    again = Journal(out)
    assert again.is_finished(key(1)) and not again.is_finished(key(2))
    assert again.is_failed(key(2)) and not again.is_failed(key(1))
    assert not again.is_finished(key(1, "b"))
    row = again.copy_of(key(1, "b"))
    assert row is not None and row["id"] == "a" and again.copy_of(key(3)) is None
    assert json.loads(copied_row(key(1, "b"), row, "b"))["id"] == "b"


def test_rows_hold_no_times_and_read_as_results(out: Path) -> None:
    assert result_row(key(1), result(seconds=1.0)) == result_row(key(1), result(seconds=2.0))
    Journal(out).record([result_row(key(1), result(text="zwölf"))])
    (found,) = read_results(out)
    assert found.answer == Answer("zwölf") and found.seconds == 0.0


def test_a_success_outweighs_an_earlier_failure(out: Path) -> None:
    journal = Journal(out)
    journal.record(errors=[error_row(key(1), Failure(Request(Path("a")), "decode", "E", "no"))])
    assert journal.is_failed(key(1))
    journal.record([result_row(key(1), result())])
    assert journal.is_finished(key(1)) and not journal.is_failed(key(1))


@pytest.mark.parametrize("torn", [1, 20, 200_000], ids=["one byte", "a piece", "longer than a block"])
def test_a_torn_last_line_is_cut_off(out: Path, torn: int) -> None:
    row = result_row(key(1), result())
    Journal(out).record([row])
    with (out / "results.jsonl").open("ab") as file:
        file.write((b'{"key": "' + b"x" * torn)[:torn])
    journal = Journal(out)
    assert (out / "results.jsonl").read_bytes() == row
    journal.record([result_row(key(2), result("b"))])
    assert len(list(read_results(out))) == 2


def test_a_line_torn_by_another_is_cut_off_before_writing(out: Path) -> None:
    journal = Journal(out)
    (out / "results.jsonl").write_bytes(b'{"key": "torn')
    journal.record([result_row(key(1), result())])
    assert [found.id for found in read_results(out)] == ["a"]


def test_lines_that_are_no_rows_are_counted_and_passed_over(out: Path) -> None:
    out.mkdir()
    (out / "results.jsonl").write_bytes(b"hello\n\n" + result_row(key(1), result()) + b'{"key": "half\n')
    journal = Journal(out)
    assert journal.damaged == 3 and journal.is_finished(key(1)) and len(list(read_results(out))) == 1


def test_rows_of_other_runs_are_seen(out: Path) -> None:
    mine, row = Journal(out), result_row(key(1), result())
    with (out / "results.jsonl").open("ab") as file:
        file.write(row[:30])
        file.flush()
        mine.refresh()
        assert not mine.is_finished(key(1)), "the line is still being written"
        file.write(row[30:])
    mine.refresh()
    assert mine.is_finished(key(1))


def test_failures_can_be_taken_out(out: Path) -> None:
    journal = Journal(out)
    for number, name in enumerate("ab"):
        journal.record(errors=[error_row(key(number, name), Failure(Request(Path(name)), "probe", "E", "no"))])
    journal.drop_errors({name_of("a")})
    assert not journal.is_failed(key(0, "a")) and journal.is_failed(key(1, "b"))


def test_clear_forgets_and_needs_to_be_alone(out: Path) -> None:
    journal = Journal(out)
    journal.record([result_row(key(1), result())])
    code = f"from pathlib import Path; from crab_core.batch.journal import Journal; Journal(Path({str(out)!r})).clear()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another run is writing into" in done.stderr
    journal.clear()
    assert not journal.is_finished(key(1)) and not (out / "results.jsonl").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT], ids=["full", "read-only", "quota"])
def test_a_disk_that_takes_no_more_leaves_whole_rows(out: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    journal = Journal(out)
    journal.record([result_row(key(1), result())])
    before = (out / "results.jsonl").read_bytes()

    def fails(_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(journal_module.os, "fsync", fails)
    with pytest.raises(ResourceError, match="cannot write '.*results.jsonl'") as caught:
        journal.record([result_row(key(2), result())])
    assert "what is done is kept" in (caught.value.hint or "")
    assert (out / "results.jsonl").read_bytes() == before
    with pytest.raises(ResourceError):
        replace_file(out / "run.json", b"{}")
    assert sorted(path.name for path in out.iterdir()) == [".claims", ".lock", "results.jsonl"]


def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(ResourceError, match="cannot write into '/proc/none'"):
        Journal(Path("/proc/none"))


def test_names_that_are_no_utf8_are_kept(out: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    Journal(out).record([result_row(key(1, name), result(name))])
    assert [found.id for found in read_results(out)] == [name]
    assert line({"text": "é"}) == '{"text": "é"}\n'.encode()


CLAIM = """
import sys
from pathlib import Path
from crab_core.batch.locks import Locks
locks = Locks(Path(sys.argv[1]))
print([locks.claim(work) for work in sys.argv[2:]], flush=True)
sys.stdin.readline()
"""


def test_a_claim_holds_against_others_and_dies_with_its_process(out: Path) -> None:
    journal = Journal(out)
    works = [key(1).work, key(1 << 90).work]
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM, out, *works], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "[True, True]\n"
        assert [journal.locks.claim(work) for work in works] == [False, False]
        other.kill()
        other.wait()
    assert journal.locks.claim(works[0])
    journal.locks.release(works[0])


def test_a_million_rows_open_in_seconds(out: Path) -> None:
    """A tenth of them here, in a tenth of the time; benchmarks/batch.py measures the whole million."""
    out.mkdir()
    row = result_row(key(0), result())
    head, tail = row[:9], row[33:]
    with (out / "results.jsonl").open("wb") as file:
        file.writelines(head + b"%024x" % number + tail for number in range(100_000))
    began = time.process_time()
    journal = Journal(out)
    assert len(journal.finished) == 100_000
    assert time.process_time() - began < 1.0


def request(path: Path, **changed: object) -> Request:
    return Request(path, **{"task": "avqa", "question": "Who?", "id": path.name, **changed})


def test_a_key_tells_content_and_options_but_not_the_folder(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name / "a.mp4" for name in ("one", "two", "three"))
    for path, data in ((one, b"x" * 9), (same, b"x" * 9), (other, b"y" * 9)):
        path.parent.mkdir()
        path.write_bytes(data)
    options = {"seed": 0, "model": "m"}
    base = key_of(request(one), options)
    assert key_of(request(same), {"model": "m", "seed": 0}) == base
    assert key_of(request(one, id="b"), options).work == base.work
    changed = [
        key_of(request(other), options),
        key_of(request(one), {**options, "seed": 1}),
        key_of(request(one, question="What?"), options),
        key_of(request(one, task="avcap", question=None), options),
        key_of(request(one, audio_path=other), options),
        key_of(request(one, reasoning=False), options),
        key_of(request(one, require_audio=True), options),
        unread_key_of(request(one), options),
    ]
    assert len({str(one) for one in [base, *changed]}) == 9
    with pytest.raises(FileNotFoundError):
        key_of(request(tmp_path / "none"), options)


@pytest.mark.parametrize("place", [0, 123_457, -1], ids=["first byte", "inside a piece", "last byte"])
def test_pieces_of_a_large_file_are_read(tmp_path: Path, place: int) -> None:
    data = bytearray(3 << 20)
    (tmp_path / "a").write_bytes(data)
    place = place if place != 123_457 else 5 * ((3 << 20) - 65536) // 15 + 7
    data[place] = 1
    (tmp_path / "b").write_bytes(data)
    assert content(tmp_path / "a") != content(tmp_path / "b")


def test_every_byte_counts_if_asked(tmp_path: Path) -> None:
    data = bytearray(3 << 20)
    (tmp_path / "a").write_bytes(data)
    data[100_000] = 1  # between the first piece and the second
    (tmp_path / "b").write_bytes(data)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert content(tmp_path / "a", full=True) != content(tmp_path / "b", full=True)
