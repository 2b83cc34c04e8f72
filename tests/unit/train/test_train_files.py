"""Runs from files: 4-bit bases, precisions, pieces of a batch, processes that share it, kills."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_crab import write_tiny

from crab_core.errors import Diverged, InputError, UsageError
from crab_core.media import write_video
from crab_core.progress import Note, Progress
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.loop import run
from crab_core.weights.folder import read_header, sha256_of, verify

STAGE = """{name: tune, kind: language, steps: 6, batch: 4, samples: 1, warmup: 1, rate: 0.003, save_every: 3,
  train: [%s], ilora: {dropout: 0}}"""
CLOSE = 1e-4
Curve = list[dict[str, float]]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A run of six steps on two clips with several questions and an event each."""
    folder = tmp_path_factory.mktemp("files")
    rows = []
    for number in range(2):
        frames = np.full((8, 32, 32, 3), 90 * number, np.uint8)
        write_video(folder / f"{number}.mp4", frames, 4.0, waveform=np.zeros(32000, np.float32))
        asked = [{"question": f"What is it {n}?", "answer": "one dog " * n} for n in range(1, 5)]
        events = [{"label": "dog", "start_s": 0, "end_s": 1 + number, "track": "both"}]
        rows.append({"file": f"{number}.mp4", "seconds": 2, "questions": asked, "events": events})
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "run.yaml"
    data = f"{{files: [{folder / 'lines.jsonl'}], cache: {folder / 'cache'}}}"
    path.write_text(f"name: tuned\nmodel: {tiny}\ndata: {data}\nstages: [{STAGE % 'ilora'}]\n")
    return path


def curve_of(out: Path) -> Curve:
    curve: Curve = list(read_header(out / "model").training["curve"])
    return curve


def losses(out: Path) -> list[float]:
    return [entry["loss"] for entry in curve_of(out)]


@pytest.fixture(scope="module")
def plain(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is."""
    out = tmp_path_factory.mktemp("plain") / "run"
    run(config, out=out)
    return out


def test_an_adapter_beside_4_bit_weights_learns_on_a_cpu(config: Path, tiny: Path, tmp_path: Path) -> None:
    changes = ["quantize=4bit", "checkpointing=true", "stages.0.optimizer=adamw8bit", "stages.0.steps=3"]
    run(config, changes, out=tmp_path / "run")
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    assert verify(tmp_path / "run" / "model").quantized == "none", "the adapter stands beside the exact weights"
    before, after = (load_file(one / "model.safetensors") for one in (tiny, tmp_path / "run" / "model"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(".ilora_" in name for name in changed)


def test_packed_weights_give_another_loss_than_exact_ones(config: Path, plain: Path, tmp_path: Path) -> None:
    run(config, ["quantize=4bit", "stages.0.until=1"], out=tmp_path / "run")
    assert losses(tmp_path / "run")[0] != losses(plain)[0]
    assert losses(tmp_path / "run")[0] == pytest.approx(losses(plain)[0], rel=0.3)


def test_8_bit_states_of_the_optimizer_are_gone_on_with(config: Path, tmp_path: Path) -> None:
    changes = ["stages.0.optimizer=adamw8bit", "stages.0.ilora={dropout: 0.2, per_head_dropout: true}"]
    run(config, changes, out=tmp_path / "whole")
    run(config, [*changes, "stages.0.until=3"], out=tmp_path / "half")
    record = json.loads((tmp_path / "whole/run.json").read_text())
    (tmp_path / "half/run.json").write_text(json.dumps(record))
    (tmp_path / "half/model").rename(tmp_path / "half/gone")
    run(config, changes, out=tmp_path / "half")
    one, other = (sha256_of(tmp_path / name / "model/model.safetensors") for name in ("whole", "half"))
    assert one == other


def test_paging_needs_a_gpu(config: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a GPU, and the run is on 'cpu'"):
        run(config, ["device=cpu", "stages.0.optimizer=paged-adamw8bit"], out=tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "close"),
    [
        pytest.param(["stages.0.accumulate=3"], CLOSE, id="pieces"),
        pytest.param(["checkpointing=true", "stages.0.until=3"], CLOSE, id="checkpointing"),
        pytest.param(["data.workers=0"], 0.0, id="no workers"),
        pytest.param(["precision=bf16", "stages.0.until=2"], 0.1, id="bf16"),
        pytest.param(["precision=fp16", "stages.0.until=2"], 0.1, id="fp16"),
    ],
)
def test_how_a_step_is_computed_changes_no_loss(
    config: Path, plain: Path, tmp_path: Path, changes: list[str], close: float
) -> None:
    run(config, changes, out=tmp_path / "run")
    found = losses(tmp_path / "run")
    assert len(found) > 1 and found == pytest.approx(losses(plain)[: len(found)], abs=close)


def test_dropout_of_each_head_is_kept_in_the_header(config: Path, plain: Path, tmp_path: Path) -> None:
    changes = ["stages.0.ilora={dropout: 0.3, per_head_dropout: true}", "stages.0.until=2"]
    run(config, changes, out=tmp_path / "run")
    assert read_header(tmp_path / "run/model").config["ilora"]["per_head_dropout"] is True
    assert losses(tmp_path / "run")[1] != losses(plain)[1]


def test_rows_of_about_the_same_length_share_a_step() -> None:
    from crab_core.train.schedule import schedule

    lengths = np.arange(100)
    places, share = {"avqa": lengths}, {"avqa": 1.0}
    apart, together = (
        schedule(places, lengths, share, steps=25, batch=4, seed=1, group_lengths=grouped) for grouped in (False, True)
    )
    assert sorted(apart.ravel()) == list(lengths), "every row once before any comes again"
    assert sorted(together.ravel()) == list(lengths)
    assert np.ptp(together, axis=1).mean() < np.ptp(apart, axis=1).mean() / 4


def test_a_loss_that_is_no_number_names_the_texts_and_the_last_good_checkpoint(config: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"loss is nan at step \d of stage 'tune', in the batch of \d\.mp4") as caught:
        run(
            config,
            ["stages.0.rate=1e30", "stages.0.warmup=0", "stages.0.train=[llm]", "stages.0.save_every=1"],
            out=tmp_path / "run",
        )
    last = Checkpoints(tmp_path / "run").steps()[-1]
    assert f"The last good checkpoint is '{tmp_path / 'run'}/step-{last}'" in str(caught.value.hint)


def test_a_run_does_not_go_on_with_other_data(config: Path, tmp_path: Path) -> None:
    shutil.copytree(config.parent, tmp_path / "data")
    lines = tmp_path / "data/lines.jsonl"
    changes = [f"data={{files: [{lines}]}}", "stages.0.until=1"]
    run(config, changes, out=tmp_path / "run")
    run(config, [*changes, "data.workers=0", "keep=3"], out=tmp_path / "run")
    lines.write_text(lines.read_text().replace("What is it 1?", "What was it?"))
    with pytest.raises(UsageError, match="holds a run on other data"):
        run(config, changes, out=tmp_path / "run")


def test_a_text_longer_than_the_network_reads_is_named(config: Path, tmp_path: Path) -> None:
    row = {"id": "long", "file": "0.mp4", "captions": ["dog " * 600]}
    (config.parent / "long.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match=r"a text of \d+ tokens is longer than the network's 512: long"):
        run(config, [f"data.files=[{config.parent / 'long.jsonl'}]"], out=tmp_path / "run")


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(config: Path, plain: Path, tmp_path: Path) -> None:
    def at_step_four(told: Progress | Note) -> None:
        if isinstance(told, Progress) and told.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "run", on_progress=at_step_four)
    assert Checkpoints(tmp_path / "run").steps() == [3]
    run(config, out=tmp_path / "run")
    one, other = (sha256_of(out / "model/model.safetensors") for out in (plain, tmp_path / "run"))
    assert one == other


def test_data_that_vanish_in_the_middle_end_the_run_with_what_is_missing(config: Path, tmp_path: Path) -> None:
    shutil.copytree(config.parent, tmp_path / "data")

    def at_step_two(told: Progress | Note) -> None:
        if isinstance(told, Progress) and told.done == 2:
            for clip in (tmp_path / "data").glob("*.mp4"):
                clip.unlink()

    data = f"data={{files: [{tmp_path / 'data/lines.jsonl'}], workers: 0}}"
    with pytest.raises(InputError, match="of 2 clips cannot be used, more than 10%; the last: no such file"):
        run(config, [data, "stages.0.save_every=1"], out=tmp_path / "run", on_progress=at_step_two)
    assert Checkpoints(tmp_path / "run").steps() == [2]


def start(config: Path, out: Path) -> int:
    """The training in a process of its own; gives its id."""
    child = os.fork()
    if child:
        return child
    try:
        run(config, ["data.workers=0", "stages.0.save_every=1"], out=out)
        os._exit(0)
    except BaseException as err:
        sys.stderr.write(f"{err!r}\n")
        os._exit(1)


@pytest.mark.parametrize("kills", [pytest.param(2, id="2"), pytest.param(10, id="10", marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_changes_no_weight(kills: int, config: Path, plain: Path, tmp_path: Path) -> None:
    dice, out = random.Random(kills), tmp_path / "run"
    for _ in range(kills):
        before = Checkpoints(out).steps()
        child = start(config, out)
        deadline = time.monotonic() + 20
        while Checkpoints(out).steps() == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (-signal.SIGKILL, 0)
    assert os.waitstatus_to_exitcode(os.waitpid(start(config, out), 0)[1]) == 0
    for name in ("model", "step-6"):
        assert sha256_of(out / name / "model.safetensors") == sha256_of(plain / "model" / "model.safetensors")
    assert losses(out) == losses(plain)


def forked(config: Path, out: Path, place: dict[str, str]) -> int:
    """The training in a process of its own that the environment gives a place in a group."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ |= place
        run(config, out=out)
        os._exit(0)
    except BaseException as err:
        sys.stderr.write(f"{err!r}\n")
        os._exit(1)


def test_two_processes_give_the_losses_of_one(config: Path, plain: Path, tmp_path: Path) -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(door.getsockname()[1])}
    children = [forked(config, tmp_path / "run", {**common, "RANK": str(rank)}) for rank in range(2)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    for key in ("loss", "token_accuracy", "tokens"):
        one, two = ([entry[key] for entry in curve_of(out) if key in entry] for out in (plain, tmp_path / "run"))
        assert two == pytest.approx(one, abs=CLOSE)


@pytest.mark.slow
def test_the_command_starts_its_processes(config: Path, plain: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "crab_cli", "train", str(config), "-o", str(tmp_path / "run"), "--processes", "2"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n"
    assert losses(tmp_path / "run") == pytest.approx(losses(plain), abs=CLOSE)
    gone = [*words[:4], str(tmp_path / "none.yaml"), *words[5:]]
    done = subprocess.run(gone, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 3 and done.stdout == ""
