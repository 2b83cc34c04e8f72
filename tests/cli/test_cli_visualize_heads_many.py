"""`crab visualize-heads` over many clips inside one process, with a tiny random network."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fake_family import write_clip
from tiny_crab import write_tiny

from crab_core.batch import heads as run
from crab_core.families.crab_network import CrabNetwork

EVIL = "<script>x.mp4"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / EVIL)
    write_clip(folder / "mute.mp4", 2.0, sound=False)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    return folder


@pytest.fixture
def clips(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "clips"))


@pytest.fixture
def heads(crab, tiny):
    return lambda *words: crab("visualize-heads", *words, "-m", tiny, "--device", "cpu", "--max-new-tokens", 4)


def test_a_folder_under_several_tasks_with_a_broken_file(heads, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    said = heads(clips, "Who <b>barks</b>?", "--task", "avqa,avvp", "-o", out, "--figures")
    assert (said.code, said.out) == (1, f"{out / 'survey.html'}\n")
    assert "'broken.mp4' failed (probe)" in said.err
    assert "heads tell 0." in said.err
    page = (out / "survey.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;x.mp4" in page
    assert "2 failed" in page
    document = json.loads((out / "survey.json").read_text(encoding="utf-8"))
    assert (document["schema"], document["heads"], len(document["rows"])) == ("crab.heads-survey/1", 3, 4)
    assert [one["id"] for one in document["failures"]] == ["broken.mp4"] * 2
    for row in document["rows"]:
        assert all(sum(shares) == pytest.approx(1, abs=1e-4) for shares in row["shares"].values())
        assert len(row["cost"]) == 4
        assert abs(row["even_cost"]) > 0
        assert len(row["routers"]) == len(row["by_router"]["all"]) == len(row["by_router"]["written"]) == 14
    assert "router by router" in page
    assert set(document["statistics"]["by_router"]) == {"all", "written"}
    assert "audio" not in next(row for row in document["rows"] if row["clip"] == "mute.mp4")["shares"]
    assert {path.name for path in (out / "figures").iterdir()} >= {"scatter-heads-1-2.svg", "profiles.svg", "cost.svg"}
    assert (out / "figures" / "routers-all.svg").is_file()
    assert len((out / "errors.jsonl").read_text().splitlines()) == 2


def test_a_second_run_goes_on_where_the_first_ended(heads, clips: Path, tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    (clips / "broken.mp4").unlink()
    whole = heads(clips, "--task", "avvp", "-o", out, "--json", "--no-ablate")
    assert whole.code == 0
    rows = (out / "heads.jsonl").read_bytes().splitlines(keepends=True)
    (out / "heads.jsonl").write_bytes(rows[0] + rows[1][:40])  # as a killed run leaves it
    again = heads(clips, "--task", "avvp", "-o", out, "--json", "--no-ablate")
    assert "resumed 1/2" in again.err
    assert again.out == whole.out
    assert (out / "heads.jsonl").read_bytes() == b"".join(rows)
    monkeypatch.setattr(run._Run, "one", lambda *_: pytest.fail("nothing was left to do"))
    assert heads(clips, "--task", "avvp", "-o", out, "--no-ablate").code == 0


def test_other_options_are_other_rows_and_overwrite_forgets(heads, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (clips / "broken.mp4").unlink()
    heads(clips, "--task", "avvp", "-o", out, "--no-ablate")
    said = heads(clips, "--task", "avvp", "-o", out)
    assert "resumed" not in said.err
    assert len((out / "heads.jsonl").read_text().splitlines()) == 4
    assert "resumed" not in heads(clips, "--task", "avvp", "-o", out, "--overwrite").err
    assert len((out / "heads.jsonl").read_text().splitlines()) == 2


def test_a_table_asks_each_clip_its_own(heads, clips: Path, tmp_path: Path) -> None:
    table = clips / "asked.csv"
    table.write_text("clip,task,question\nmute.mp4,avqa,Who?\nmute.mp4,avqa,Why?\nmute.mp4,avvp,\n")
    said = heads(table, "-o", tmp_path / "out", "--no-ablate", "--json")
    rows = json.loads(said.out)["rows"]
    assert [(row["task"], row["question"]) for row in rows] == [("avqa", "Who?"), ("avqa", "Why?"), ("avvp", None)]


def test_without_task_and_question_all_that_needs_none(heads, clips: Path, tmp_path: Path) -> None:
    (clips / "broken.mp4").unlink()
    document = json.loads(heads(clips, "-o", tmp_path / "out", "--no-ablate", "--json").out)
    tasks = {row["task"] for row in document["rows"]}
    assert {"ave", "avvp", "avcap"} <= tasks
    assert "avqa" not in tasks
    assert ("mute.mp4", "ave") in [(one["id"], one["task"]) for one in document["failures"]]  # it listens
    assert any("clips without sound" in note for note in document["notes"])


def test_only_broken_files(heads, clips: Path, tmp_path: Path) -> None:
    for path in clips.glob("*.mp4"):
        path.write_bytes(b"")
    said = heads(clips, "--task", "avvp", "-o", tmp_path / "out")
    assert said.code == 3
    page = (tmp_path / "out" / "survey.html").read_text(encoding="utf-8")
    assert "3 failed" in page
    assert "Traceback" not in said.err


def test_one_head_says_that_nothing_can_specialise(crab, clips: Path, tmp_path: Path) -> None:
    (clips / "broken.mp4").unlink()
    one = write_tiny(tmp_path / "one", heads=1)
    words = ("--task", "avcap,avvp", "-o", tmp_path / "out", "-m", one, "--device", "cpu", "--max-new-tokens", 4)
    said = crab("visualize-heads", clips, *words)
    assert said.code == 0
    assert "nothing can specialise" in said.err
    assert "heads tell" not in said.err


def test_clips_that_lack_a_medium_and_files_of_others(heads, clips: Path, tmp_path: Path) -> None:
    (clips / "broken.mp4").unlink()
    write_clip(clips / "only.mp4", 2.0, pictures=False)
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    said = heads(clips, "--task", "avvp", "-o", out, "--json")
    assert said.code == 0
    kinds = {row["clip"]: set(row["shares"]) for row in json.loads(said.out)["rows"]}
    assert "video" not in kinds["only.mp4"] and "audio" not in kinds["mute.mp4"]
    assert {"video", "audio"} <= kinds[EVIL]
    assert (out / "mine.txt").read_text() == "mine"


def test_empty_answers(heads, clips: Path, tmp_path: Path, monkeypatch) -> None:
    usual = CrabNetwork.generate
    nothing = lambda *given, **named: replace(usual(*given, **named), token_ids=(), text="")  # noqa: E731
    monkeypatch.setattr(CrabNetwork, "generate", nothing)
    (clips / "broken.mp4").unlink()
    said = heads(clips, "Who?", "--task", "avqa,avvp", "-o", tmp_path / "out", "--json")
    assert said.code == 0
    document = json.loads(said.out)
    assert [(row["answer"], row["cost"], row["even_cost"]) for row in document["rows"]] == [("", [], None)] * 4
    assert document["statistics"]["cost"] == []
    page = (tmp_path / "out" / "survey.html").read_text(encoding="utf-8")
    assert "loses without a head" not in page and "(none)" in page


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        pytest.param(["--task", "ave,avpv"], 2, "no task is called 'avpv'", id="unknown-task"),
        pytest.param(["--task", "avqa"], 2, "task 'avqa' needs a question", id="no-question"),
        pytest.param(["Who?", "--task", "ave"], 2, "task 'ave' takes no question, got 'Who?'", id="useless-question"),
        pytest.param(["--task", ""], 2, "no task is called ''", id="empty-task"),
        pytest.param(["--check"], 2, "--check is for one clip", id="check"),
        pytest.param(["--video"], 2, "--video is for one clip", id="video"),
        pytest.param(["--glob", "*.xyz"], 3, "no file in", id="glob-without-files"),
        pytest.param(["-o", "{clips}/mute.mp4"], 5, "cannot write into", id="out-is-a-file"),
    ],
)
def test_mistakes(heads, clips: Path, tmp_path: Path, monkeypatch, words, code, told) -> None:
    monkeypatch.chdir(tmp_path)
    said = heads(clips, *(word.format(clips=clips) for word in words))
    assert said.code == code
    assert told in said.err
    assert "Traceback" not in said.err


def test_a_model_without_heads_is_told_before_any_clip(crab, clips: Path, tmp_path: Path) -> None:
    bare = write_tiny(tmp_path / "bare", heads=0)
    said = crab("visualize-heads", clips, "--task", "avvp", "-o", tmp_path / "out", "-m", bare, "--device", "cpu")
    assert said.code == 4
    assert "model 'tiny' has no I-LoRA" in said.err
    assert not (tmp_path / "out" / "survey.html").exists()


def test_a_glob_is_for_many(heads, clips: Path, tmp_path: Path) -> None:
    said = heads(clips / "mute.mp4", "Who?", "--glob", "*.mp4", "-o", tmp_path / "out")
    assert said.code == 2
    assert "--glob is for many clips" in said.err


def test_another_run_in_the_folder_is_refused(heads, clips: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("crab_core.batch.locks.Locks.alone", lambda self: False)
    said = heads(clips, "--task", "avvp", "-o", tmp_path / "out")
    assert said.code == 5
    assert "another run is writing into" in said.err


def test_the_report_of_a_survey_is_its_page(heads, crab, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    heads(clips, "--task", "avvp,avcap", "-o", out)
    assert crab("report", out).code == 0
    assert (out / "report.html").read_bytes() == (out / "survey.html").read_bytes()
    (out / "survey.json").unlink()
    said = crab("report", out, "--overwrite")
    assert said.code == 3
    assert "'heads.jsonl': the run was cut off" in said.err
