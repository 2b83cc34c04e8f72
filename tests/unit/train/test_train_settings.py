"""What a training configuration must not say, and folders that cannot hold a run: told before anything is rendered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crab_core.config import load_config
from crab_core.errors import ConfigError, UsageError
from crab_core.train.loop import Training
from crab_core.train.record import check_same_run, write_run
from crab_core.train.settings import TrainSettings


@pytest.mark.parametrize(
    ("override", "told"),
    [
        pytest.param("stages.0.name=../../home", "'../../home' cannot be", id="stage-outside-the-run"),
        pytest.param("stages.0.name=model", "'model' cannot be", id="stage-in-place-of-the-model"),
        pytest.param("stages.0.name=cache", "'cache' cannot be", id="stage-in-place-of-the-cache"),
        pytest.param("stages.0.name=", "'' cannot be", id="stage-without-a-name"),
        pytest.param("stages.1.name=visual", "stages need names of their own", id="two-stages-of-one-name"),
        pytest.param("stages.0.rate=nan", "rate: must be above 0, got nan", id="rate-nan"),
        pytest.param("stages.0.rate=0", "rate: must be above 0, got 0", id="rate-zero"),
        pytest.param("stages.0.weight_decay=-1", "weight_decay: must be 0 or more, got -1", id="weight-decay"),
        pytest.param("stages.0.warmup=-1", "warmup: must be 0 or more, got -1", id="warmup"),
        pytest.param("stages.0.until=9", "until: must be between 1 and 4, got 9", id="until"),
        pytest.param("stages.0.train=[]", "train: name at least one part", id="nothing-learns"),
        pytest.param("stages.2.tasks={avqa: -1, ave: 2}", "tasks: weights must be 0 or more", id="negative-weight"),
        pytest.param("stages.2.tasks={avqa: 0}", "tasks: weights must be 0 or more", id="no-weight"),
        pytest.param("stages.2.ilora={heads: 0}", "ilora: heads and rank must be at least 1", id="ilora-heads"),
        pytest.param("stages.2.ilora={head: 2}", "ilora: .*'head'", id="ilora-key"),
        pytest.param("tasks=[avqa, dance]", "no task is called 'dance'", id="task"),
        pytest.param("seed=-1", "seed and threads must not be negative", id="seed"),
        pytest.param("data.seed=-1", "seed and processes must not be negative", id="data-seed"),
        pytest.param("data.processes=-2", "seed and processes must not be negative", id="processes"),
    ],
)
def test_a_setting_that_cannot_be_used(tiny_config: Path, override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(TrainSettings, tiny_config, [override])
    (mistake,) = caught.value.mistakes
    assert re.search(told, mistake)


def test_the_shipped_recipe_is_sound(repo: Path) -> None:
    settings = load_config(TrainSettings, repo / "examples" / "train" / "mini.yaml")
    assert settings.name == "mini"
    assert any(stage.ilora for stage in settings.stages)


@pytest.mark.parametrize(
    "text",
    ['{"settings": {"na', "[]", "{}", '{"settings": 3}', "\x00"],
    ids=["torn", "list", "no-settings", "number", "zero-byte"],
)
def test_a_damaged_record_is_told(tiny_config: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match="run.json' cannot be read") as caught:
        check_same_run(tmp_path, load_config(TrainSettings, tiny_config), resume=True)
    assert caught.value.hint == "Give another folder with --out."


def test_a_file_is_no_folder_for_a_run(tiny_config: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    settings = load_config(TrainSettings, tiny_config)
    check_same_run(tmp_path / "notes", settings, resume=True)
    with pytest.raises(UsageError, match="cannot write into the folder '.*notes': File exists"):
        write_run(tmp_path / "notes", settings, "abc")
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_vocabulary_without_room_is_told(tiny_config: Path, tmp_path: Path) -> None:
    settings = load_config(TrainSettings, tiny_config, ["vocabulary=300"])
    with pytest.raises(UsageError, match="a vocabulary of 300 has no room") as caught:
        _ = Training(settings, tmp_path / "run").tokenizer
    assert caught.value.hint == "Raise it: --set vocabulary=1000"


def test_a_record_is_written_whole(tiny_config: Path, tmp_path: Path) -> None:
    settings = load_config(TrainSettings, tiny_config)
    write_run(tmp_path / "run", settings, "abc")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]
    check_same_run(tmp_path / "run", settings, resume=True)
