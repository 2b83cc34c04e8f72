"""Folders of shards become one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crab_core.batch.journal import Journal, error_row, read_results, result_row
from crab_core.batch.keys import Key, name_of
from crab_core.batch.merge import Merged, merge
from crab_core.errors import InputError, ResourceError, UsageError
from crab_core.types import Answer, Failure, Request, Result


def write(folder: Path, done: dict[str, str], failed: str = "") -> Path:
    journal = Journal(folder)
    for name, text in done.items():
        found = Result(name, "mini", "avqa", "Who?", Answer(text), (), (), text, "used", 2.0, 1.0)
        journal.record([result_row(key(name), found)])
        (folder / name).mkdir()
        (folder / name / "avqa.json").write_text(text)
    for name in failed:
        journal.record(errors=[error_row(key(name), Failure(Request(Path(name), id=name), "probe", "E", "no"))])
    journal.close()
    return folder


def key(name: str) -> Key:
    return Key(f"{ord(name):024x}", name_of(name))


def test_each_clip_comes_once_in_order(tmp_path: Path) -> None:
    one = write(tmp_path / "1", {"d": "dog", "a": "ant"}, failed="xb")
    two = write(tmp_path / "2", {"b": "bee", "a": "ant", "c": "cat"}, failed="x")
    merged = merge([one, two], tmp_path / "all")
    assert merged == Merged(results=4, errors=1, duplicates=2, conflicts=0, files=4)
    assert [found.id for found in read_results(tmp_path / "all")] == ["a", "b", "c", "d"]
    errors = [json.loads(line)["id"] for line in (tmp_path / "all" / "errors.jsonl").read_text().splitlines()]
    assert errors == ["x"], "what failed in one and was done in the other is done"
    assert (tmp_path / "all" / "c" / "avqa.json").read_text() == "cat"
    merge([two, one], tmp_path / "turned")
    assert (tmp_path / "turned" / "results.jsonl").read_bytes() == (tmp_path / "all" / "results.jsonl").read_bytes()


def test_different_answers_are_counted(tmp_path: Path) -> None:
    folders = [write(tmp_path / text, {"a": text}) for text in ("ant", "ape")]
    assert merge(folders, tmp_path / "all").conflicts == 1
    assert [found.answer for found in read_results(tmp_path / "all")] == [Answer("ant")]


def test_a_merged_folder_is_one_to_go_on_in(tmp_path: Path) -> None:
    merge([write(tmp_path / "1", {"a": "ant"})], tmp_path / "all")
    assert Journal(tmp_path / "all").is_finished(key("a"))


def test_links_lead_nowhere(tmp_path: Path) -> None:
    one = write(tmp_path / "1", {"a": "ant"})
    (one / "link").symlink_to("/etc/hostname")
    merge([one], tmp_path / "all")
    assert not (tmp_path / "all" / "link").exists()


@pytest.mark.parametrize(
    ("folders", "out", "kind", "words"),
    [
        (["none"], "all", InputError, "none' holds no results.jsonl"),
        (["1"], "1", UsageError, "1' is one of the folders to merge"),
        (["1"], "2", UsageError, "2' holds the results of another run"),
    ],
)
def test_folders_that_cannot_be_merged(
    tmp_path: Path, folders: list[str], out: str, kind: type[Exception], words: str
) -> None:
    write(tmp_path / "1", {"a": "ant"})
    write(tmp_path / "2", {"b": "bee"})
    with pytest.raises(kind) as caught:
        merge([tmp_path / name for name in folders], tmp_path / out)
    assert words in str(caught.value)


def test_a_disk_that_takes_no_files(tmp_path: Path) -> None:
    one = write(tmp_path / "1", {"a": "ant"})
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "a").write_text("a file where a folder is to be")
    with pytest.raises(ResourceError, match="cannot write"):
        merge([one], tmp_path / "all")


def test_a_thousand_and_more_rows(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "1")
    base = Result("", "mini", "avqa", "Who?", Answer("x"), (), (), "x", "used", 2.0, 1.0)
    names = [f"{number:05d}" for number in range(2500)]
    journal.record([result_row(Key(f"{int(n):024x}", name_of(n)), replace(base, id=n)) for n in reversed(names)])
    journal.close()
    assert merge([tmp_path / "1"], tmp_path / "all").results == 2500
    assert [found.id for found in read_results(tmp_path / "all")] == names
