"""A training that is killed at random moments, also while it saves, ends with the weights of an undisturbed one."""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from crab_core.errors import Diverged, ResourceError
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.loop import run
from crab_core.weights.folder import sha256_of

STEPS = [f"stages.0.{key}={value}" for key, value in (("steps", 10), ("save_every", 1))]
ONE_STAGE = [*STEPS, "stages.1.steps=1", "stages.2.steps=1", "stages.2.until=1", "stages.3.steps=1", "stages.4.steps=1"]


@pytest.fixture
def fresh(tiny_run: Path, tmp_path: Path) -> Path:
    """A run's folder in which the clips are rendered already."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("cache", "tokenizer"):
        shutil.copytree(tiny_run / name, out / name)
    return out


def start(config: Path, out: Path) -> int:
    """The training in a process of its own; gives its id."""
    child = os.fork()
    if child:
        return child
    try:
        run(config, ONE_STAGE, out=out)
        os._exit(0)
    except BaseException as err:
        sys.stderr.write(f"{err!r}\n")
        os._exit(1)


def end_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at_random(config: Path, out: Path, kills: int, seed: int) -> None:
    """Kills the training that often, each time at some moment after it has begun to step, then lets it finish."""
    dice = random.Random(seed)
    for _ in range(kills):
        before = Checkpoints(out).steps()
        child = start(config, out)
        deadline = time.monotonic() + 30
        while Checkpoints(out).steps() == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        assert end_of(child) in (-signal.SIGKILL, 0)
    assert end_of(start(config, out)) == 0


@pytest.mark.parametrize("kills", [pytest.param(2, id="2"), pytest.param(10, id="10", marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_changes_no_weight(kills: int, tiny_config: Path, fresh: Path, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    shutil.copytree(fresh, calm)
    assert end_of(start(tiny_config, calm)) == 0
    killed_at_random(tiny_config, fresh, kills, seed=kills)
    for stage in ("visual", "model"):
        one, other = (sha256_of(out / stage / "model.safetensors") for out in (calm, fresh))
        assert one == other, stage
    assert not (fresh / ".saving").exists()


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tiny_config: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = 0
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        nonlocal saves
        if self.parent.name == ".saving":
            saves += 1
            if saves == 3:
                raise OSError(28, "No space left on device", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ResourceError, match="step-3.*No space left") as caught:
        run(tiny_config, [*ONE_STAGE, "keep=2"], out=fresh)
    assert "step-2" in str(caught.value.hint)
    assert Checkpoints(fresh).steps() == [1, 2]
    assert not (fresh / ".saving").exists()


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(tiny_config: Path, fresh: Path) -> None:
    told = []
    few = [*ONE_STAGE, "keep=2", "stages.0.steps=1", "stages.4.steps=3", "stages.4.save_every=1"]
    whole = run(tiny_config, few, out=fresh)
    good = sha256_of(whole / "model.safetensors")
    shutil.rmtree(fresh / "model")
    newest = Checkpoints(fresh).steps()[-1]
    (fresh / f"step-{newest}" / "resume.pt").write_bytes(b"half")
    run(tiny_config, few, out=fresh, on_progress=told.append)
    assert any("cannot be gone on from" in getattr(one, "text", "") for one in told)
    assert sha256_of(whole / "model.safetensors") == good


def test_a_loss_that_is_no_number_stops_the_run(tiny_config: Path, fresh: Path) -> None:
    with pytest.raises(Diverged, match=r"loss is nan at step \d+ of stage 'visual', in the batch of item") as caught:
        run(tiny_config, [*ONE_STAGE, "stages.0.rate=1e30", "stages.0.warmup=1"], out=fresh)
    assert "last good checkpoint is" in str(caught.value.hint)
