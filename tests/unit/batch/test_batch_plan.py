"""What a run is to do: folders, lists, tables and shares of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crab_core.batch.manifest import of_bytes, of_file
from crab_core.batch.plan import of_folder, placed
from crab_core.batch.shard import Shard, shard_of
from crab_core.engine.checks import task_of
from crab_core.errors import ConfigError, InputError, UsageError
from crab_core.types import Request

ASKED = Request(Path(), "avqa", "Who?")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in [
        "b.mp4",
        "a.MKV",
        "notes.txt",
        ".hidden.mp4",
        "sub/a.mp4",
        "sub/deep/x.wav",
        ".git/y.mp4",
        "out/z.mp4",
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def ids(items: object) -> list[str]:
    return [item.id for item in items]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        pytest.param(None, ["a.MKV", "b.mp4", "sub/a.mp4", "sub/deep/x.wav"], id="media by suffix"),
        pytest.param("*.mp4", ["b.mp4", "sub/a.mp4"], id="name"),
        pytest.param("sub/*", ["sub/a.mp4", "sub/deep/x.wav"], id="path"),
        pytest.param("**/*.mp4", ["b.mp4", "sub/a.mp4"], id="two stars"),
        pytest.param("*.txt", ["notes.txt"], id="any suffix if asked"),
    ],
)
def test_a_folder_is_searched(tree: Path, glob: str | None, expected: list[str]) -> None:
    plan = of_folder(tree, ASKED, glob=glob, leave_out=tree / "out")
    assert ids(plan.items) == expected
    assert all(item.request.question == "Who?" and item.request.clip == tree / item.id for item in plan.items)


@pytest.mark.parametrize(("glob", "words"), [(None, "by its suffix"), ("*.avi", "matches --glob '*.avi'")])
def test_a_folder_without_clips(tmp_path: Path, glob: str | None, words: str) -> None:
    with pytest.raises(InputError, match="no file in") as caught:
        of_folder(tmp_path, ASKED, glob=glob)
    assert words in caught.value.message


def test_links_are_followed_once(tree: Path) -> None:
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "other").symlink_to(tree / "sub" / "deep")
    (tree / "gone.mp4").symlink_to(tree / "nowhere.mp4")
    found = ids(of_folder(tree, ASKED, leave_out=tree / "out").items)
    assert len(found) == len(set(found)) and sum(name.endswith("x.wav") for name in found) == 1
    assert "gone.mp4" in found, "a dead link becomes an error row, not a clip that was never there"


def test_a_folder_that_cannot_be_listed_is_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuses(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    plan = of_folder(tree, ASKED)
    assert len(plan.notes) == 1 and "deep': Permission denied" in plan.notes[0]


def test_names_and_places_are_unique() -> None:
    names = ["a.mp4", "A.MP4", "a.mp4", "a.mp4", "a.mp4#2", "results.jsonl", "../../etc/passwd", "/abs/x", "..", "b\\c"]
    items = placed([Request(Path("clip"), id=name) for name in names])
    assert ids(items)[:5] == ["a.mp4", "A.MP4", "a.mp4#2", "a.mp4#3", "a.mp4#2#2"]
    places = [str(item.place) for item in items]
    assert places[:2] == ["a.mp4", "A.MP4~2"] and places[5] == "results.jsonl~2"
    assert places[6:] == ["etc/passwd", "abs/x", "_", "b/c"]
    assert len({place.casefold() for place in places}) == len(places)


def test_a_hundred_thousand_items_are_planned_in_a_second() -> None:
    items = placed([Request(Path("clip.mp4"), id="same") for _ in range(50_000)])
    items += placed([Request(Path("clip.mp4"), id=f"d/{number}") for number in range(50_000)])
    assert items[49_999].id == "same#50000" and items[-1].id == "d/49999"


def of_text(data: bytes, suffix: str, asked: Request = ASKED) -> list[Request]:
    plan = of_bytes(data, suffix, asked, task_of, where="m", folder=Path("dir"))
    return [item.request for item in plan.items]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"a.mp4\nb c.mp4\n", id="plain"),
        pytest.param(b"\xef\xbb\xbfa.mp4\r\nb c.mp4", id="mark and CRLF"),
        pytest.param(b"a.mp4\r\r\nb c.mp4\n\n \n", id="mixed and blank lines"),
        pytest.param("a.mp4\nb c.mp4\n".encode("utf-16"), id="UTF-16"),
    ],
)
def test_lists(data: bytes) -> None:
    found = of_text(data, ".txt")
    assert [(one.clip, one.id, one.question) for one in found] == [
        (Path("dir/a.mp4"), "a.mp4", "Who?"),
        (Path("dir/b c.mp4"), "b c.mp4", "Who?"),
    ]


def test_a_list_keeps_names_that_are_no_utf8() -> None:
    assert os.fsencode(of_text(b"caf\xe9.mp4\n", ".txt")[0].clip) == b"dir/caf\xe9.mp4"


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        pytest.param(b'clip,question,task\na.mp4,"One, two?",\nb.mp4,,avcap\n', ".csv", id="csv"),
        pytest.param(b'\xef\xbb\xbfPath , Question,task\r\na.mp4,"One, two?"\r\nb.mp4,,avcap\r', ".csv", id="mark, CR"),
        pytest.param(b"video\tquestion\ttask\na.mp4\tOne, two?\t\nb.mp4\t\tavcap\n", ".tsv", id="tsv"),
        pytest.param(
            b'{"clip": "a.mp4", "question": "One, two?", "more": [1]}\r\n\n{"file": "b.mp4", "task": "avcap"}',
            ".jsonl",
            id="jsonl",
        ),
    ],
)
def test_tables(data: bytes, suffix: str) -> None:
    found = of_text(data, suffix, Request(Path(), "avqa"))
    assert [(str(one.clip), one.question, one.task) for one in found] == [
        ("dir/a.mp4", "One, two?", "avqa"),
        ("dir/b.mp4", None, "avcap"),
    ]


def test_a_table_gives_sounds_and_names() -> None:
    (one, two) = of_text(b"clip,audio,id\na.mp4,s.wav,first\na.mp4,,first\n", ".csv")
    assert (one.audio_path, one.id) == (Path("dir/s.wav"), "first")
    assert (two.audio_path, two.id) == (None, "first#2")


@pytest.mark.parametrize(
    ("data", "suffix", "kind", "words"),
    [
        pytest.param(b"name,q\na,b\n", ".csv", UsageError, "no column 'clip' in 'm', only 'name', 'q'", id="column"),
        pytest.param(b"", ".csv", UsageError, "no column 'clip' in 'm', only nothing", id="empty table"),
        pytest.param(b"clip\n", ".csv", InputError, "no clip is named in 'm'", id="no rows"),
        pytest.param(b"\n \n", ".txt", InputError, "no clip is named in 'm'", id="empty list"),
        pytest.param(b'{"q": 1}', ".jsonl", UsageError, "'m, line 1', only 'q'", id="JSON column"),
        pytest.param(b"{", ".jsonl", InputError, "'m', line 1 is no JSON", id="no JSON"),
        pytest.param(b"[1]", ".jsonl", InputError, "line 1 is no JSON object", id="no object"),
        pytest.param(b"clip\nf\xfc.mp4\n", ".csv", InputError, "'m' is not UTF-8: byte 6 is 0xfc", id="Latin-1"),
        pytest.param(b'clip\n"' + b"x" * 200_000, ".csv", InputError, "field larger than", id="huge field"),
        pytest.param(b"clip,question\n,Who?\n", ".csv", ConfigError, "line 2: no clip is named", id="no clip"),
        pytest.param(b"clip,task\na,dance\n", ".csv", ConfigError, "line 2: no task is called 'dance'", id="task"),
        pytest.param(b'{"clip": "a\\u0000"}', ".jsonl", ConfigError, "zero byte", id="zero byte"),
        pytest.param(b"clip,task\n" + b"a,x\n" * 8, ".csv", ConfigError, "and 3 more", id="many mistakes"),
    ],
)
def test_tables_that_cannot_be_used(data: bytes, suffix: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        of_text(data, suffix)
    assert words in str(caught.value)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read '.*none.txt': No such file"):
        of_file(tmp_path / "none.txt", ASKED, task_of)


def test_shards_divide_the_work_without_remainder() -> None:
    items = placed([Request(Path("x"), id=f"clip-{number}") for number in range(999)])
    shares = [Shard(index, 3).of(items) for index in (1, 2, 3)]
    assert sorted(name for share in shares for name in ids(share)) == sorted(ids(items))
    assert all(280 < len(share) < 390 for share in shares)
    assert ids(Shard(1, 3).of(items))[:4] == ["clip-2", "clip-4", "clip-6", "clip-7"], "stable for ever"


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("2/8", {}, (2, 8)),
        ("auto", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "9"}, (5, 9)),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "4",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_MAX": "6",
                "SLURM_ARRAY_TASK_STEP": "2",
            },
            (3, 4),
        ),
        ("auto", {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (1, 4)),
        ("auto", {"RANK": "3", "WORLD_SIZE": "4"}, (4, 4)),
    ],
    ids=["by hand", "array", "array with steps", "srun", "torchrun"],
)
def test_shards_by_hand_and_by_scheduler(text: str, environment: dict[str, str], expected: tuple[int, int]) -> None:
    shard = shard_of(text, environment)
    assert (shard.index, shard.count) == expected


@pytest.mark.parametrize(
    ("text", "environment", "words"),
    [
        ("0/4", {}, "there is no shard '0/4'"),
        ("5/4", {}, "there is no shard '5/4'"),
        ("half", {}, "'half' is no shard"),
        ("auto", {}, "finds no SLURM_ARRAY_TASK_ID"),
        ("auto", {"RANK": "x", "WORLD_SIZE": "2"}, "cannot use RANK='x'"),
        ("auto", {"RANK": "1"}, "cannot use WORLD_SIZE=''"),
    ],
)
def test_shards_that_are_none(text: str, environment: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        shard_of(text, environment)
    assert words in caught.value.message
