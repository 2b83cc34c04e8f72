"""Runs on the generated world whose steps are shared by processes or computed in pieces: the losses of a whole step."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_two_processes
from torch import nn

from crab_core.errors import ConfigError
from crab_core.train.loop import run
from crab_core.train.processes import Group
from crab_core.train.shares import SharedBatchNorm, share_norms
from crab_core.weights.folder import read_header

CLOSE = 1e-4
STAGES = ("visual", "audio", "words", "places", "model")
VALUES = ("loss", "token_accuracy", "answer_accuracy", "mask_loss", "mask_iou", "cell_accuracy", "box_error")


def curves_of(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {stage: list(read_header(out / stage).training["curve"]) for stage in STAGES}


# without rows about pictures, which have a test of their own
ADAMW = (
    "stages.4.stills=0",
    "stages.4.optimizer=adamw",
)  # Muon makes of rounding errors in a matrix of rank 2 what is no rounding error


def partly(tiny_run: Path, out: Path, *stages: str) -> Path:
    """A run's folder in which the clips are rendered already, and these stages have ended."""
    out.joinpath("cache").mkdir(parents=True)
    for made in (*tiny_run.glob("cache/train-*"), *(tiny_run / stage for stage in stages)):
        shutil.copytree(made, out / made.relative_to(tiny_run))
    if stages:
        shutil.copytree(tiny_run / "tokenizer", out / "tokenizer")
        for features in tiny_run.glob("cache/features-*"):
            shutil.copy(features, out / "cache")
    return out


@pytest.fixture(scope="module")
def alone(tiny_run: Path, tiny_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process."""
    out = partly(tiny_run, tmp_path_factory.mktemp("alone") / "run", *STAGES[:-1])
    run(tiny_config, ADAMW, out=out)
    return out


def same_curves(one: Path, other: Path, values: int) -> None:
    before, after = curves_of(one), curves_of(other)
    compared = 0
    for stage, curve in before.items():
        for mine, theirs in zip(curve, after[stage], strict=True):
            for name in set(VALUES) & mine.keys():
                assert theirs[name] == pytest.approx(mine[name], abs=CLOSE), (stage, mine["step"], name)
                compared += 1
    assert compared >= values


def test_two_processes_give_the_losses_of_one_in_every_stage(
    alone: Path, tiny_run: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = partly(tiny_run, tmp_path / "run")
    assert in_two_processes(lambda: run(tiny_config, ADAMW, out=out)) == [0, 0]
    same_curves(alone, out, values=40)
    assert (out / "step-18" / "resume.pt").exists()


def test_a_batch_in_pieces_gives_the_losses_of_the_whole(
    alone: Path, tiny_run: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = partly(tiny_run, tmp_path / "run", "visual", "audio")
    pieces = [f"stages.{number}.accumulate={count}" for number, count in ((2, 2), (3, 3), (4, 2))]
    run(tiny_config, [*ADAMW, *pieces], out=out)
    same_curves(alone, out, values=40)


def test_rows_about_pictures_are_shared_like_those_about_clips(
    tiny_run: Path, tiny_config: Path, tmp_path: Path
) -> None:
    first_steps = ["stages.4.stills=3", "stages.4.optimizer=adamw", "stages.4.until=4"]
    alone, shared = (partly(tiny_run, tmp_path / name, *STAGES[:-1]) for name in ("alone", "shared"))
    run(tiny_config, first_steps, out=alone)
    assert in_two_processes(lambda: run(tiny_config, first_steps, out=shared)) == [0, 0]
    same_curves(alone, shared, values=16)


def test_an_encoder_takes_its_batch_at_once(tiny_config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="normalisation needs the whole batch"):
        run(tiny_config, ["stages.0.accumulate=2"], out=tmp_path / "run")


def test_a_batch_is_not_smaller_than_the_group(tiny_run: Path, tiny_config: Path, tmp_path: Path) -> None:
    out = partly(tiny_run, tmp_path / "run", "visual", "audio", "words", "places")
    assert in_two_processes(lambda: run(tiny_config, ["stages.4.batch=1", "stages.4.stills=0"], out=out)) == [2, 2]


def test_a_shared_norm_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    maps, weights = torch.randn(6, 3, 4, 4), torch.randn(6, 3, 4, 4)

    def work(group: Group) -> None:
        rank = group.rank
        module = nn.Sequential(nn.BatchNorm2d(3))
        share_norms(module)
        assert isinstance(module[0], SharedBatchNorm)
        own = maps[rank::2].clone().requires_grad_()
        made = module(own)
        (made * weights[rank::2]).sum().backward()
        torch.save({"made": made.detach(), "gradient": own.grad, **module.state_dict()}, tmp_path / f"{rank}.pt")

    assert in_two_processes(work, joined=True) == [0, 0]
    whole, norm = maps.clone().requires_grad_(), nn.BatchNorm2d(3)
    made = norm(whole)
    (made * weights).sum().backward()
    assert whole.grad is not None
    for rank in range(2):
        told = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(told["made"], made[rank::2].detach())
        torch.testing.assert_close(told["gradient"], whole.grad[rank::2])
        torch.testing.assert_close(told["0.running_var"], norm.running_var)
        torch.testing.assert_close(told["0.running_mean"], norm.running_mean)
