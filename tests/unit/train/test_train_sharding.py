"""The LLM's layers shared out over two processes (FSDP): losses of one process, ordinary folders, resuming."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import in_two_processes
from safetensors.torch import load_file
from test_train_files import config, curve_of, tiny  # noqa: F401  fixtures

from crab_core.errors import ConfigError, UsageError
from crab_core.families._base import Precision
from crab_core.train.checkpoints import Checkpoints
from crab_core.train.loop import run
from crab_core.train.sharding import is_sharded, shard
from crab_core.train.start import open_start
from crab_core.weights.folder import verify

CLOSE = 1e-4
WAYS = ["data.workers=0", "keep=2", "stages.0.accumulate=2", "stages.0.train=[ilora, llm]"]
SHARDED = [*WAYS, "shard=true"]


@pytest.fixture(scope="module")
def alone(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    run(config, WAYS, out=out)
    return out


@pytest.fixture(scope="module")
def sharded(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The run of two processes, each with half of every layer."""
    out = tmp_path_factory.mktemp("sharded") / "run"
    assert in_two_processes(lambda: run(config, SHARDED, out=out)) == [0, 0]
    return out


def close_curves(one: Path, other: Path) -> None:
    before, after = curve_of(one), curve_of(other)
    assert len(before) == len(after) == 6
    for name in ("loss", "grad_norm", "token_accuracy"):
        assert [step[name] for step in after] == pytest.approx([step[name] for step in before], abs=CLOSE)


def test_shared_out_layers_give_the_losses_of_one_process(alone: Path, sharded: Path) -> None:
    close_curves(alone, sharded)


def test_the_result_is_an_ordinary_model_folder(alone: Path, sharded: Path) -> None:
    for name in ("model", "step-3"):
        verify(sharded / name)
        before, after = (_tensors(out / name) for out in (alone, sharded))
        assert before.keys() == after.keys()
        for key, tensor in before.items():
            torch.testing.assert_close(after[key].float(), tensor.float(), atol=2e-3, rtol=0, msg=key)


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= load_file(file)
    return found


@pytest.mark.parametrize("parts", [True, False], ids=["sharded", "alone"])
def test_a_sharded_run_goes_on_from_its_checkpoint(config: Path, sharded: Path, tmp_path: Path, parts: bool) -> None:  # noqa: F811
    out = tmp_path / "run"
    shutil.copytree(sharded, out)
    shutil.rmtree(out / "model")
    shutil.rmtree(out / "step-6")
    assert Checkpoints(out).steps() == [3]
    if parts:
        assert in_two_processes(lambda: run(config, SHARDED, out=out)) == [0, 0]
        before, after = (_tensors(folder / "model") for folder in (sharded, out))
        assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())
    else:
        run(config, WAYS, out=out)
    close_curves(sharded, out)


def test_a_process_holds_half_of_every_layer(tiny: Path, tmp_path: Path) -> None:  # noqa: F811
    def work(group: Any) -> None:
        start = open_start(tiny, Precision())
        before = sum(one.numel() for one in start.model.llm.model.layers.parameters())
        shard(start.model, group)
        layers = list(start.model.llm.model.layers.parameters())
        assert all(is_sharded(one) for one in layers)
        held = sum(one.to_local().numel() for one in layers)
        assert 0.45 * before < held < 0.55 * before
        assert not is_sharded(start.model.llm.model.embed_tokens.weight)

    assert in_two_processes(work, joined=True) == [0, 0]


def test_sharding_takes_several_processes(config: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(UsageError, match="nobody to share") as caught:
        run(config, SHARDED, out=tmp_path / "run")
    assert "--processes 2" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param("quantize=4bit", "not packed", id="packed"),
        pytest.param("stages.0.optimizer=muon", "learns by adamw, not muon", id="muon"),
    ],
)
def test_what_cannot_be_shared_out_is_told(change: str, told: str, config: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(ConfigError, match=told):
        run(config, [*SHARDED, change], out=tmp_path / "run")
