"""Runs inside the test's own process: what is computed, copied, resumed, retried; what failures cost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fake_family import FakeFamily, write_clip

from crab_core.batch.engine import EngineOptions, start_engine
from crab_core.batch.journal import Journal, read_results
from crab_core.batch.plan import Item, of_folder
from crab_core.batch.record import model_hash, write_run
from crab_core.batch.run import Run, Settings, Summary
from crab_core.batch.worker import BATCH, Worker, WorkerSpec
from crab_core.errors import ModelError, ResourceError, UsageError
from crab_core.progress import ignore
from crab_core.types import Failure, Request, Result

ASKED = Request(Path(), "avqa", "Who?")


@pytest.fixture
def spec(folder: Path) -> WorkerSpec:
    return WorkerSpec(folder, device="cpu")


@pytest.fixture
def worker(spec: WorkerSpec) -> Iterator[Worker]:
    with closing(Worker(spec)) as worker:
        yield worker


class Runs:
    """Runs over a folder into an output folder, and remembers what they told."""

    def __init__(self, clips: Path, out: Path, spec: WorkerSpec) -> None:
        self.clips, self.out, self.spec = clips, out, spec
        self.told: list[Result | Failure] = []
        self.notes: list[str] = []
        self.saved: list[str] = []
        self.options: dict[str, object] = {"seed": 0}
        self.starts = 0

    def __call__(self, **settings: bool) -> Summary:
        self.told, self.notes, self.saved = [], [], []
        items = of_folder(self.clips, ASKED).items

        def start():
            self.starts += 1
            return start_engine("local", self.spec, EngineOptions(), ignore)

        def save(item: Item, result: Result) -> None:
            self.saved.append(str(item.place))

        with closing(Journal(self.out)) as journal:
            run = Run(
                items,
                journal,
                self.options,
                Settings(**settings),
                save=save,
                tell=self.told.append,
                note=self.notes.append,
            )
            return run.work(start)

    def rows(self, name: str = "results.jsonl") -> list[dict[str, object]]:
        path = self.out / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def ids(self, name: str = "results.jsonl") -> list[object]:
        return [row["id"] for row in self.rows(name)]


@pytest.fixture
def runs(clips: Path, tmp_path: Path, spec: WorkerSpec) -> Runs:
    return Runs(clips, tmp_path / "out", replace(spec, batch=4))


NAMES = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "more/a.mp4", "more/e.mp4"]


def test_a_folder_is_worked_off_in_order(runs: Runs) -> None:
    summary = runs()
    assert (summary.total, summary.done, summary.computed, summary.failed) == (6, 6, 6, 0)
    assert summary.exit_code == 0 and summary.state == "finished" and summary.rate > 0
    assert runs.ids() == NAMES == runs.saved == [one.id for one in runs.told]
    assert {"probe", "decode", "encode", "generate", "read"} <= set(summary.stages_s)


def test_a_second_run_loads_no_model(runs: Runs) -> None:
    runs()
    summary = runs()
    assert (summary.done, summary.resumed, summary.computed) == (6, 6, 0)
    assert runs.starts == 1 and runs.notes == ["resumed 6/6"] and runs.told == [] and len(runs.rows()) == 6


def test_only_what_is_lacking_is_done(runs: Runs, clips: Path) -> None:
    runs()
    write_clip(clips / "new.mp4", seconds=4)
    summary = runs()
    assert (summary.resumed, summary.computed) == (6, 1) and runs.ids()[-1] == "new.mp4"
    assert runs.notes == ["resumed 6/7"]


def test_a_renamed_folder_is_not_done_again(runs: Runs, clips: Path) -> None:
    runs()
    runs.clips = clips.rename(clips.with_name("renamed"))
    assert runs().resumed == 6


def test_a_renamed_clip_is_copied(runs: Runs, clips: Path) -> None:
    runs()
    (clips / "b.mp4").rename(clips / "z.mp4")
    summary = runs()
    assert (summary.copied, summary.computed) == (1, 0) and runs.starts == 1
    assert runs.ids()[-1] == "z.mp4" and runs.saved == ["z.mp4"]


def test_copies_are_computed_once_and_each_has_its_row(runs: Runs, clips: Path, family: FakeFamily) -> None:
    shutil.copy(clips / "a.mp4", clips / "copy.mp4")
    summary = runs()
    assert (summary.done, summary.copied) == (7, 1) and len(family.network.clips) == 6
    rows = {row["id"]: row for row in runs.rows()}
    assert {k: v for k, v in rows["a.mp4"].items() if k not in ("key", "id")} == {
        k: v for k, v in rows["copy.mp4"].items() if k not in ("key", "id")
    }


def test_changed_options_and_changed_clips_are_done_again(runs: Runs, clips: Path) -> None:
    runs()
    runs.options = {"seed": 1}
    assert runs().computed == 6
    write_clip(clips / "a.mp4", seconds=3.5)
    assert runs().computed == 1


def spoil(clips: Path, *names: str) -> None:
    for name in names:
        (clips / name).write_text(f"no film: {name}")


def test_a_bad_file_is_one_error_row(runs: Runs, clips: Path) -> None:
    spoil(clips, "b.mp4")
    (clips / "c.mp4").write_bytes(b"")
    (clips / "gone.mp4").symlink_to(clips / "nowhere")
    summary = runs()
    assert (summary.done, summary.failed, summary.exit_code) == (4, 3, 1)
    rows = {row["id"]: row for row in runs.rows("errors.jsonl")}
    assert set(rows) == {"b.mp4", "c.mp4", "gone.mp4"}
    assert (rows["b.mp4"]["stage"], rows["b.mp4"]["error"]) == ("probe", "InputError")
    assert rows["gone.mp4"]["stage"] == "open" and "No such file" in str(rows["gone.mp4"]["message"])


def test_failures_wait_until_a_retry_is_asked_for(runs: Runs, clips: Path, family: FakeFamily) -> None:
    spoil(clips, "b.mp4")
    family.network.says["avqa"] = RuntimeError("odd")
    assert runs().exit_code == 3 and len(runs.rows("errors.jsonl")) == 6
    family.network.says["avqa"] = "<answer> cat </answer>"
    again = runs()
    assert (again.failed, again.exit_code, runs.starts) == (6, 3, 1), "a failure never exits 0"
    retried = runs(retry_failed=True)
    assert (retried.done, retried.failed, retried.exit_code) == (5, 1, 1)
    assert runs.ids("errors.jsonl") == ["b.mp4"]


def test_fail_fast_keeps_what_is_done(runs: Runs, clips: Path) -> None:
    spoil(clips, "b.mp4")
    runs.spec = replace(runs.spec, batch=1)
    summary = runs(fail_fast=True)
    assert summary.state == "stopped" and summary.exit_code == 1
    assert runs.ids() == ["a.mp4"] and runs.ids("errors.jsonl") == ["b.mp4"]
    assert runs().done == 5


def test_overwrite_starts_anew(runs: Runs) -> None:
    runs()
    summary = runs(overwrite=True)
    assert (summary.resumed, summary.computed) == (0, 6) and len(runs.rows()) == 6


@pytest.mark.parametrize(
    ("error", "state"),
    [(KeyboardInterrupt(), "interrupted"), (ResourceError("cannot write"), "ended by ResourceError")],
    ids=["ctrl-c", "full disk"],
)
def test_an_end_in_the_middle_keeps_what_is_done(
    runs: Runs, clips: Path, tmp_path: Path, error: BaseException, state: str
) -> None:
    runs.spec = replace(runs.spec, batch=2)
    with closing(Journal(runs.out)) as journal:

        def save(item: Item, result: Result) -> None:
            if item.id == "d.mp4":
                raise error

        run = Run(of_folder(clips, ASKED).items, journal, runs.options, Settings(), save=save)
        with pytest.raises(type(error)):
            run.work(lambda: start_engine("local", runs.spec, EngineOptions(), ignore))
    assert run.summary.state == state and runs.ids() == ["a.mp4", "b.mp4"]
    assert runs().computed == 4 and sorted(map(str, runs.ids())) == NAMES


def test_damaged_lines_are_told(runs: Runs) -> None:
    runs()
    with (runs.out / "results.jsonl").open("a") as file:
        file.write("what is this\n")
    runs()
    assert runs.notes == [f"1 lines in '{runs.out}' are no rows and were passed over", "resumed 6/6"]


def test_resumed_results_are_those_of_one_go(runs: Runs, clips: Path, tmp_path: Path) -> None:
    spoil(clips, "b.mp4")
    runs()
    whole = {name: (runs.out / name).read_bytes() for name in ("results.jsonl", "errors.jsonl")}
    runs.out = tmp_path / "pieces"
    moved = clips / "more"
    moved.rename(tmp_path / "aside")
    runs()
    (tmp_path / "aside").rename(moved)
    runs()
    for name, data in whole.items():
        assert sorted((runs.out / name).read_bytes().splitlines()) == sorted(data.splitlines())


def test_run_json_tells_what_was_asked_and_done(runs: Runs, folder: Path) -> None:
    summary = runs()
    write_run(runs.out, {"source": Path("clips")}, folder, summary)
    document = json.loads((runs.out / "run.json").read_text())
    assert document["schema"] == "crab.run/1" and document["arguments"] == {"source": "clips"}
    assert document["clips"] == {"total": 6, "done": 6, "failed": 0, "resumed": 0, "copied": 0}
    assert document["model"] == {"name": "fake", "sha256": model_hash(folder)} and "torch" in document["versions"]


def requests(clips: Path, **changed: object) -> list[Request]:
    return [replace(item.request, **changed) for item in of_folder(clips, ASKED).items]


def test_a_worker_gives_an_outcome_for_everything(worker: Worker, clips: Path) -> None:
    spoil(clips, "b.mp4")
    asked = requests(clips)
    asked[2] = replace(asked[2], question=None)
    asked[3] = replace(asked[3], task="ave", question=None)
    chunks = list(worker.work([asked[:4], [], asked[4:]]))
    assert [len(chunk) for chunk in chunks] == [4, 2]
    outcomes = [outcome for chunk in chunks for outcome in chunk]
    assert [type(outcome).__name__ for outcome in outcomes] == [
        "Result",
        "Failure",
        "Failure",
        "Result",
        "Result",
        "Result",
    ]
    assert outcomes[1].stage == "probe" and outcomes[2].stage == "check" and outcomes[3].task == "ave"


def test_batched_answers_are_those_of_one_at_a_time(worker: Worker, clips: Path) -> None:
    (together,) = worker.work([requests(clips)])
    alone = [outcomes[0] for outcomes in worker.work([[one] for one in requests(clips)])]
    times = {"seconds": 0.0, "timings_s": {}}
    assert [replace(one, **times) for one in together] == [replace(one, **times) for one in alone]
    assert all(set(one.timings_s) == {"check", "probe", "decode", "encode", "generate", "read"} for one in together)


def test_decoding_runs_ahead_by_one_chunk_only(worker: Worker, clips: Path) -> None:
    taken: list[int] = []

    def chunks():
        for number, one in enumerate(requests(clips)):
            taken.append(number)
            yield [one]

    outcomes = worker.work(chunks())
    next(outcomes)
    assert taken == [0, 1]
    next(outcomes)
    assert taken == [0, 1, 2]
    outcomes.close()


@pytest.mark.parametrize("size", [1, 4], ids=["one by one", "together"])
def test_several_questions_about_one_clip_look_at_it_once(
    worker: Worker, family: FakeFamily, clips: Path, size: int
) -> None:
    asked = [Request(clips / "a.mp4", "avqa", f"Who is number {number}?", id=f"q{number}") for number in range(4)]
    chunks = [asked[at : at + size] for at in range(0, len(asked), size)]
    outcomes = [one for chunk in worker.work(chunks) for one in chunk]
    assert [(one.id, one.question) for one in outcomes if isinstance(one, Result)] == [
        (one.id, one.question) for one in asked
    ]
    assert len(family.network.clips) == 1
    for one, prompt in zip(asked, family.network.prompts, strict=True):
        assert str(one.question) in " ".join(part.text for part in prompt.parts)
    assert not worker._seen  # nothing is kept of a clip that nobody asks about


def test_one_of_a_batch_that_fails_is_told_apart(worker: Worker, family: FakeFamily, clips: Path, monkeypatch) -> None:
    network, generate = family.network, family.network.generate
    calls: list[int] = []

    def fails_for_one(encoded, prompt, decoding, on_text=None):
        calls.append(len(calls))
        if len(calls) in (2, 4):  # within the batch, and again when asked alone
            raise MemoryError
        return generate(encoded, prompt, decoding, on_text)

    monkeypatch.setattr(network, "generate", fails_for_one)
    (outcomes,) = worker.work([requests(clips)[:3]])
    assert [isinstance(outcome, Result) for outcome in outcomes] == [True, False, True]
    assert outcomes[1].error_type == "ResourceError" and "memory ran out" in outcomes[1].message


def test_a_model_that_writes_nothing_has_failed(worker: Worker, family: FakeFamily, clips: Path) -> None:
    family.network.says["avqa"] = " "
    (outcomes,) = worker.work([requests(clips)[:2]])
    assert [outcome.error_type for outcome in outcomes] == ["ModelError", "ModelError"]


@pytest.mark.parametrize(
    ("changed", "batch"),
    [
        ({}, BATCH),
        ({"batch": 3}, 3),
        ({"dtype": "bfloat16"}, 1),
        ({"quantize": "8bit"}, 1),
        ({"temperature": 0.7}, 1),
        ({"dtype": "bfloat16", "batch": 2}, 2),
    ],
    ids=["exact", "asked for", "half precision", "few bits", "sampled", "half precision, asked for"],
)
def test_clips_are_answered_together_where_that_changes_nothing(
    spec: WorkerSpec, changed: dict[str, object], batch: int
) -> None:
    with closing(Worker(replace(spec, **changed))) as worker:
        assert worker.batch == batch


def test_loading_fails_before_anything_is_written(runs: Runs, family: FakeFamily) -> None:
    family.fails = ModelError("damaged")
    with pytest.raises(ModelError):
        runs()
    assert runs.rows() == [] and runs.rows("errors.jsonl") == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("loca", EngineOptions(), "no engine is called 'loca'"),
        ("local", EngineOptions(address="auto"), "--address 'auto' needs a cluster"),
        ("local", EngineOptions(gpus_per_worker=0.5), "--gpus-per-worker '0.5' needs a cluster"),
    ],
)
def test_engines_that_cannot_be_used(spec: WorkerSpec, name: str, options: EngineOptions, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        start_engine(name, spec, options, ignore)
    assert words in caught.value.message


def test_results_can_be_read_back(runs: Runs) -> None:
    runs()
    assert [result.id for result in read_results(runs.out)] == NAMES
