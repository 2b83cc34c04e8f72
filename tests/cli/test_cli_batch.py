"""`crab infer` over many clips, inside one process: sources, streams, files, exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from fake_family import FakeFamily, write_clip

from crab_core.types import Result


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, name in enumerate(["a.mp4", "b.mp4", "c d.mp4"]):
        write_clip(folder / name, seconds=1 + number / 4)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_answers_are_lines_of_name_and_answer(infer, clips: Path, out: Path) -> None:
    said = infer(clips, "Who?", "-o", out)
    assert (said.code, said.out) == (0, "a.mp4\tdog\nb.mp4\tdog\nc d.mp4\tdog\n")
    assert said.err.startswith(f"note: 3/3 done in '{out}', ") and said.err.endswith(" clips/s\n")
    assert sorted(path.name for path in out.glob("[!.]*")) == ["results.jsonl", "run.json"]


def test_events_are_lines_too(infer, clips: Path, out: Path) -> None:
    write_clip(clips / "a.mp4", seconds=3)
    lines = infer(clips, "--task", "avvp", "-o", out, "-q").out.splitlines()
    assert lines[:2] == ["a.mp4\t0\t2\tvisual\tdog", "a.mp4\t1\t3\taudio\tdog"]


def test_json_streams_a_result_a_line(infer, clips: Path, out: Path) -> None:
    said = infer(clips, "Who?", "-o", out, "--json", "-q")
    results = [Result.from_dict(json.loads(line)) for line in said.out.splitlines()]
    assert [result.id for result in results] == ["a.mp4", "b.mp4", "c d.mp4"] and said.err == ""
    assert results[0].timings_s["generate"] >= 0


def test_a_second_run_says_so_and_does_nothing(infer, family: FakeFamily, clips: Path, out: Path) -> None:
    infer(clips, "Who?", "-o", out)
    said = infer(clips, "Who?", "-o", out)
    assert (said.code, said.out) == (0, "") and len(family.loads) == 1
    assert said.err == f"note: resumed 3/3\nnote: 3/3 done in '{out}'\n"


def test_changed_options_are_done(infer, clips: Path, out: Path) -> None:
    infer(clips, "Who?", "-o", out)
    for words in (["--seed", 1], ["--no-reasoning"], ["--max-new-tokens", 9], ["--dtype", "float32"]):
        assert len(infer(clips, "Who?", "-o", out, *words).out.splitlines()) == 3
    assert infer(clips, "Who?", "-o", out, "--batch", 2, "--decoders", 1).out == ""


def test_some_bad_clips_exit_1_and_all_bad_exit_3(infer, clips: Path, out: Path) -> None:
    (clips / "b.mp4").write_text("no film")
    said = infer(clips, "Who?", "-o", out)
    assert said.code == 1 and len(said.out.splitlines()) == 2
    assert "note: 'b.mp4' failed (probe): " in said.err
    assert f"note: 2/3 done in '{out}', 1 failed: see '{out / 'errors.jsonl'}'" in said.err
    for path in clips.iterdir():
        path.write_text("no film either")
    said = infer(clips, "Who?", "-o", out)
    assert said.code == 3 and said.out == "" and "Traceback" not in said.err


def test_fail_fast_and_retry(infer, clips: Path, out: Path) -> None:
    film = (clips / "a.mp4").read_bytes()
    (clips / "a.mp4").write_text("no film")
    assert infer(clips, "Who?", "-o", out, "--fail-fast", "--batch", 1).code == 3
    (clips / "a.mp4").write_bytes(film)
    assert infer(clips, "Who?", "-o", out, "--retry-failed").code == 0
    assert (out / "errors.jsonl").read_text() == ""


def test_overwrite(infer, clips: Path, out: Path) -> None:
    infer(clips, "Who?", "-o", out)
    assert len(infer(clips, "Who?", "-o", out, "--overwrite").out.splitlines()) == 3
    assert len((out / "results.jsonl").read_text().splitlines()) == 3


def test_files_lie_below_the_name_of_the_clip(infer, clips: Path, out: Path) -> None:
    infer(clips, "--task", "ave", "-o", out, "-f", "tsv", "-f", "json", "--full-hash")
    assert (out / "c d.mp4" / "ave.tsv").read_text().splitlines()[0] == "start_s\tend_s\ttrack\tlabel"
    assert json.loads((out / "a.mp4" / "ave.json").read_text())["task"] == "ave"


def test_the_output_folder_may_lie_inside(infer, clips: Path) -> None:
    for _ in range(2):
        assert infer(clips, "Who?", "-o", clips / "out", "-f", "json").code == 0
    assert len((clips / "out" / "results.jsonl").read_text().splitlines()) == 3


def test_glob(infer, clips: Path, out: Path) -> None:
    assert infer(clips, "Who?", "-o", out, "--glob", "[ab].mp4").out == "a.mp4\tdog\nb.mp4\tdog\n"


def test_a_list_on_stdin(infer, clips: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = f"{clips / 'a.mp4'}\n{clips / 'none.mp4'}\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    said = infer("-", "Who?", "-o", out)
    assert (said.code, said.out) == (1, f"{clips / 'a.mp4'}\tdog\n")


def test_a_table_asks_each_its_own(infer, clips: Path, out: Path) -> None:
    (clips / "ask.csv").write_text("clip,question,task\na.mp4,Who?,\na.mp4,Where?,\nb.mp4,,avcap\n")
    said = infer(clips / "ask.csv", "-o", out, "--json", "-q")
    found = [(row["id"], row["question"], row["task"]) for row in map(json.loads, said.out.splitlines())]
    assert set(found) == {
        ("a.mp4", "Who?", "avqa"),
        ("a.mp4#2", "Where?", "avqa"),
        ("b.mp4", None, "avcap"),
    }


def test_shards_together_do_everything_once(infer, clips: Path, out: Path) -> None:
    said = [infer(clips, "Who?", "-o", out / str(share), "--shard", f"{share}/2") for share in (1, 2)]
    names = [line.partition("\t")[0] for one in said for line in one.out.splitlines()]
    assert sorted(names) == ["a.mp4", "b.mp4", "c d.mp4"] and "note: shard 1/2 has " in said[0].err


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        pytest.param(["Who?"], 2, "clips' is many clips, and no folder was given", "--out DIR", id="no out"),
        pytest.param(["-o", "OUT"], 2, "task 'avqa' needs a question", "Give one", id="no question"),
        pytest.param(["Who?", "-o", "OUT", "--shard", "3/2"], 2, "no shard '3/2'", "--shard 2/8", id="shard"),
        pytest.param(["Who?", "-o", "OUT", "--engine", "rya"], 2, "called 'rya'", "Did you mean 'ray'?", id="engine"),
        pytest.param(["Who?", "-o", "OUT", "-f", "jsn"], 2, "no format is called 'jsn'", "'json'", id="format"),
        pytest.param(["Who?", "-o", "OUT", "--glob", "*.x"], 3, "matches --glob '*.x'", "--glob", id="nothing found"),
        pytest.param(["Who?", "-o", "/proc/x"], 5, "cannot write into '/proc/x'", "another --out", id="no folder"),
    ],
)
def test_mistakes_are_told_before_the_model_is_loaded(
    infer, family: FakeFamily, clips: Path, out: Path, words: list[str], code: int, message: str, hint: str
) -> None:
    said = infer(clips, *[str(out) if word == "OUT" else word for word in words])
    first, second = said.err.splitlines()
    assert said.code == code and message in first and hint in second and family.loads == [] and said.out == ""
    assert not (out / "results.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "flag"),
    [(["--shard", "1/2"], "--shard"), (["--workers", 2], "--workers"), (["--fail-fast"], "--fail-fast")],
)
def test_options_for_many_need_many(infer, clips: Path, words: list[object], flag: str) -> None:
    said = infer(clips / "a.mp4", "Who?", *words)
    assert said.code == 2 and f"crab: {flag}" in said.err and "is for many clips, got" in said.err


def test_glob_needs_a_folder(infer, clips: Path, out: Path) -> None:
    (clips / "list.txt").write_text("a.mp4\n")
    assert "--glob '*' needs a folder" in infer(clips / "list.txt", "Who?", "-o", out, "--glob", "*").err


def test_a_table_without_clips_is_told(infer, clips: Path, out: Path) -> None:
    (clips / "ask.csv").write_text("name\na.mp4\n")
    said = infer(clips / "ask.csv", "Who?", "-o", out)
    assert said.code == 2 and "no column 'clip' in" in said.err
    (clips / "ask.csv").write_text("clip\na.mp4\nb.mp4\n")
    assert "line 2: task 'avqa' needs a question" in infer(clips / "ask.csv", "-o", out).err


def test_a_model_that_is_damaged_ends_the_run(infer, family: FakeFamily, folder: Path, clips: Path, out: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")
    said = infer(clips, "Who?", "-o", out)
    assert said.code == 4 and said.err.splitlines()[-2].startswith("crab: ")


def test_merge_prints_where_the_results_are(crab, infer, clips: Path, out: Path, tmp_path: Path) -> None:
    (clips / "b.mp4").write_text("no film")
    for share in (1, 2):
        infer(clips, "Who?", "-o", out / str(share), "--shard", f"{share}/2", "-f", "json")
    said = crab("merge", out / "1", out / "2", "-o", tmp_path / "all")
    assert (said.code, said.out) == (1, f"{tmp_path / 'all' / 'results.jsonl'}\n")
    assert said.err.splitlines() == [
        f"note: 1 clips failed: see '{tmp_path / 'all' / 'errors.jsonl'}'",
        "note: 2 results, 0 duplicates left out, 2 files",
    ]
    again = crab("merge", out / "1", out / "2", out / "1", "-o", tmp_path / "again", "--json", "-q")
    assert json.loads(again.out)["results"] == 2 and again.err == ""
    assert (tmp_path / "again" / "results.jsonl").read_bytes() == (tmp_path / "all" / "results.jsonl").read_bytes()


def test_merging_what_is_no_run(crab, clips: Path, out: Path) -> None:
    said = crab("merge", clips, "-o", out)
    assert said.code == 3 and "holds no results.jsonl" in said.err and "crab merge out/1 out/2" in said.err


def test_merge_tells_of_different_answers(
    crab, infer, family: FakeFamily, clips: Path, out: Path, tmp_path: Path
) -> None:
    infer(clips, "Who?", "-o", out / "1")
    family.network.says["avqa"] = "<answer> cat </answer>"
    infer(clips, "Who?", "-o", out / "2")
    said = crab("merge", out / "1", out / "2", "-o", tmp_path / "all")
    assert said.code == 0 and "note: 3 clips were done twice with different answers" in said.err


def test_bench_shows_rates_and_stages(crab, folder: Path, clips: Path) -> None:
    said = crab("bench", clips, "Who?", "-m", folder, "--device", "cpu", "--clips", 2)
    lines = dict(line.split("\t")[:2] for line in said.out.splitlines() if line)
    assert said.code == 0 and lines["clips"] == "2" and float(lines["clips/s"]) > 0 and "generate" in lines
    (clips / "b.mp4").write_text("no film")
    said = crab("bench", clips, "Who?", "-m", folder, "--device", "cpu", "--json")
    assert said.code == 1 and json.loads(said.out)["failed"] == 1 and "note: 1 of 3 clips failed" in said.err


def test_bench_needs_many(crab, folder: Path, clips: Path) -> None:
    said = crab("bench", clips / "a.mp4", "Who?", "-m", folder)
    assert said.code == 2 and "a.mp4' is no folder, list or table" in said.err
