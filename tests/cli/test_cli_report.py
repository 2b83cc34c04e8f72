"""`crab report` inside one process, over folders as runs leave them."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_family import write_clip

from crab_core.batch.journal import error_row, result_row
from crab_core.batch.keys import Key
from crab_core.types import Answer, Box, Event, Failure, Mask, Request, Result

EVIL = '<script>alert(1)</script>&"<img src=http://evil.example/x>'
RESULT = Result(
    id="bark.mp4",
    model="mini",
    task="avqa",
    question="Who barks?",
    answer=Answer("a dog", "I hear a dog."),
    events=(),
    boxes=(),
    raw_text="a dog",
    audio="used",
    duration_s=3.0,
    seconds=0.1,
    notes=("a note of all",),
)


def key(number: int) -> Key:
    return Key(f"{number:024x}", f"{number:016x}")


def write_run(folder: Path, results: list[Result], failures: list[Failure] = (), source: str = "nowhere") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = b"".join(result_row(key(number), result) for number, result in enumerate(results))
    (folder / "results.jsonl").write_bytes(rows)
    if failures:
        rows = b"".join(error_row(key(100 + number), failure) for number, failure in enumerate(failures))
        (folder / "errors.jsonl").write_bytes(rows)
    clips = {"total": 9, "done": 8, "failed": 1}
    run = {"arguments": {"source": source}, "time": "now", "state": "finished", "clips": clips}
    (folder / "run.json").write_text(json.dumps({**run, "seconds": 2.0, "clips_per_s": 4.0}))
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "bark.mp4")
    write_clip(folder / "only.mp4", pictures=False)
    return folder


@pytest.fixture
def run(tmp_path: Path, clips: Path) -> Path:
    events = (Event("dog", 0.5, 2.0, "audio"), Event("cat", 1.0, 3.0, "visual"))
    pixels = np.zeros((48, 64), bool)
    pixels[10:20, 10:30] = True
    masks = (Mask.of("dog", 1.0, pixels, 0.9), Mask.of("nothing", 2.0, np.zeros((48, 64), bool)))
    results = [
        RESULT,
        replace(RESULT, task="avvp", question=None, events=events, consistency=("it hears a cow",)),
        replace(RESULT, task="ssl", question=None, boxes=(Box("dog", 3, 4, 30, 40, 1.5),)),
        replace(RESULT, id="gone.mp4", task="ms3", question=None, masks=masks, audio="silent"),
        replace(RESULT, id="only.mp4", answer=None, notes=("a note of one",)),
    ]
    failure = Failure(Request(Path("broken.mp4")), "probe", "InputError", "no video")
    return write_run(tmp_path / "run", results, [failure], str(clips))


def page_of(path: Path) -> str:
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http-equiv" in page
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    return page


def test_a_run_as_one_page(crab, run: Path) -> None:
    said = crab("report", run)
    assert (said.code, said.out, said.err) == (0, f"{run / 'report.html'}\n", "")
    page = page_of(run / "report.html")
    assert "5 answers (avqa 2, avvp 1, ssl 1, ms3 1), 1 failed." in page
    assert "Run of now: finished, 8 of 9 done, 1 failed, 2.0 s, 4.00 clips a second." in page
    assert "Sound: used 4, silent 1." in page
    assert page.count("a note of all") == 1  # most have it: once at the top
    assert page.count("a note of one") == 1
    assert "<td>broken.mp4</td><td>avqa</td><td>probe</td><td>InputError</td><td>no video</td>" in page
    assert "dog, heard: 0.5 to 2 s" in page
    assert "Contradiction: it hears a cow" in page
    assert "(no answer)" in page
    assert "<title>dog: 3</title>" in page  # as an event, a box and a mask
    assert "nothing: 1" not in page  # an empty mask is nothing found
    # four frames of answers and events, one of boxes, one of the mask whose clip is gone and none of a sound
    assert page.count("<figure>") == 4 + 4 + 1 + 2


def test_what_json_tells(crab, run: Path) -> None:
    said = crab("report", run, "--json")
    told = json.loads(said.out)
    assert (told["schema"], told["answers"], told["failed"]) == ("crab.report/1", 5, 1)
    assert told["labels"] == {"dog": 3, "cat": 1}
    assert told["contradicting"] == 1


def test_every_text_of_a_stranger_is_escaped(crab, tmp_path: Path) -> None:
    bad = replace(
        RESULT,
        id=EVIL,
        model=EVIL,
        question=EVIL,
        answer=Answer(EVIL, EVIL),
        events=(Event(EVIL, 0, 1),),
        boxes=(Box(EVIL, 0, 0, 1, 1),),
        notes=(EVIL,),
        consistency=(EVIL,),
        task="scan",
    )
    other = replace(bad, notes=("another",))
    failure = Failure(Request(Path("x.mp4"), id=EVIL), EVIL, EVIL, EVIL)
    run = write_run(tmp_path / "<script>x", [bad, other, replace(bad, notes=("third",))], [failure])
    assert crab("report", run).code == 0
    page = page_of(run / "report.html")
    assert "&lt;script&gt;" in page
    assert "evil.example/x>" not in page


def test_a_result_that_leads_out_of_the_clips_shows_no_picture(crab, tmp_path: Path, clips: Path) -> None:
    shutil.copy(clips / "bark.mp4", tmp_path / "secret.mp4")
    inner = tmp_path / "inner"
    inner.mkdir()
    run = write_run(tmp_path / "run", [replace(RESULT, id="../secret.mp4")], source=str(inner))
    assert crab("report", run).code == 0
    assert "<figure>" not in page_of(run / "report.html")


def test_moved_clips_and_the_number_of_answers(crab, run: Path, clips: Path, tmp_path: Path) -> None:
    write_run(run, [RESULT] * 3)
    out = tmp_path / "deep" / "page.html"
    assert crab("report", run, "-o", out, "--clips", clips, "--limit", 2).code == 0
    page = page_of(out)
    assert page.count("<figure>") == 8
    assert "The first 2 of 3." in page


def test_single_results_and_shards(crab, tmp_path: Path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    (single / "bark.mp4.json").write_text(json.dumps(RESULT.to_dict(), indent=2))
    (single / "other.json").write_text("[1, 2]")
    assert crab("report", single).code == 0
    assert "1 answer (avqa 1), 0 failed." in page_of(single / "report.html")
    write_run(tmp_path / "shards" / "1", [RESULT])
    write_run(tmp_path / "shards" / "2", [RESULT, RESULT])
    assert crab("report", tmp_path / "shards").code == 0
    assert "3 answers (avqa 3), 0 failed." in page_of(tmp_path / "shards" / "report.html")


def test_what_is_broken_is_told_and_the_rest_shown(crab, run: Path) -> None:
    rows = (run / "results.jsonl").read_bytes()
    alien = b'{"key": "' + b"0" * 24 + b"-" + b"0" * 16 + b'", "schema": "crab.result/9"}\n'
    (run / "results.jsonl").write_bytes(rows + alien + b"no row\n" + rows[:40])
    (run / "run.json").write_text("{")
    (run / "survey.json").write_text('{"schema": "x"}')
    said = crab("report", run)
    assert (said.code, said.out) == (1, f"{run / 'report.html'}\n")
    assert "not read: 'results.jsonl': a result that cannot be read: schema 'crab.result/9'" in said.err
    assert "not read: 'results.jsonl': 2 of 8 lines are no rows" in said.err
    assert "not read: 'run.json': no JSON" in said.err
    assert "not read: 'survey.json': its schema is not" in said.err
    assert "5 answers" in page_of(run / "report.html")


@pytest.mark.parametrize(
    ("make", "words", "code", "told"),
    [
        pytest.param(lambda at: None, [], 3, "does not exist", id="missing"),
        pytest.param(lambda at: at.write_text("x"), [], 3, "is a file, not a folder of results", id="file"),
        pytest.param(lambda at: at.mkdir(), [], 3, "holds no results", id="empty"),
        pytest.param(
            lambda at: (at.mkdir(), (at / "heads.json").write_text("{")), [], 3, "'heads.json': no JSON", id="broken"
        ),
        pytest.param(lambda at: write_run(at, [RESULT]), ["--clips", "nowhere"], 3, "is no folder", id="no-clips"),
        pytest.param(lambda at: write_run(at, [RESULT]), ["-o", "."], 2, "is a folder", id="out-is-a-folder"),
        pytest.param(lambda at: write_run(at, [RESULT]), ["-o", "file/x.html"], 5, "cannot write", id="out-in-a-file"),
        pytest.param(lambda at: write_run(at, [RESULT]), ["--limit", "-1"], 2, "--limit", id="limit"),
    ],
)
def test_mistakes(crab, tmp_path: Path, monkeypatch, make, words, code, told) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    make(tmp_path / "results")
    said = crab("report", tmp_path / "results", *words)
    assert said.code == code
    assert told in said.err
    assert "Traceback" not in said.err


def test_a_page_is_replaced_only_if_asked_for(crab, run: Path) -> None:
    assert crab("report", run).code == 0
    again = crab("report", run)
    assert (again.code, "is there already" in again.err, "--overwrite" in again.err) == (2, True, True)
    assert crab("report", run, "--overwrite").code == 0


def test_torch_is_not_imported(run: Path) -> None:
    code = (
        "import sys; from crab_cli.app import run; code = run(sys.argv[1:]);"
        "print(code, [name for name in ('torch', 'transformers', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, "report", str(run), "-q"], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []"
