"""A whole run: stages in order, model folders that load, resuming to the same weights, settings that are checked."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.engine.session import load
from crab_core.errors import ConfigError, UsageError
from crab_core.progress import Note, Progress
from crab_core.train.loop import run
from crab_core.weights.folder import read_header, verify


class Stop(Exception):
    """Stands for a kill."""


def test_a_run_leaves_an_ordinary_model_folder_after_every_stage(tiny_run: Path) -> None:
    for stage in ("visual", "audio", "model"):
        header = verify(tiny_run / stage)
        assert header.name == "tiny"
        assert header.training["curve"], "the curve of the stage is kept"
        assert len(header.training["generator"]) == 16
    config = read_header(tiny_run / "model").config
    assert config["ilora"]["heads"] == 2
    assert load(tiny_run / "model").header.note == "a test"


def test_a_run_records_settings_versions_seed_and_generator(tiny_run: Path) -> None:
    record = json.loads((tiny_run / "run.json").read_text())
    assert record["settings"]["stages"][-1]["steps"] == 6
    assert len(record["generator"]) == 16
    assert {"torch", "transformers", "peft"} <= set(record["versions"])


def test_only_the_named_parts_of_a_stage_learn(tiny_run: Path) -> None:
    before, after = (load_file(tiny_run / stage / "model.safetensors") for stage in ("places", "model"))
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any(name.startswith("llm.") for name in changed)
    assert not any(name.startswith(("visual_encoder.", "audio_encoder.")) for name in changed)


def test_masks_learn_and_have_the_tables_of_the_llm(tiny_run: Path) -> None:
    before, after = (load_file(tiny_run / stage / "model.safetensors") for stage in ("places", "model"))
    decoder = [name for name in after if ".mask_decoder." in name]
    assert any(not torch.equal(before[name], after[name]) for name in decoder)
    tokens = after["llm.model.embed_tokens.weight"]
    assert torch.equal(after["capabilities.avs.tokens.weight"], tokens)
    assert torch.equal(after["capabilities.avs.head.weight"], tokens)


def test_the_rows_of_frozen_projectors_are_made_once(
    tiny_run: Path, tiny_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    shutil.copytree(tiny_run, out)
    for later in ("words", "places", "model"):
        shutil.rmtree(out / later)
    for checkpoint in out.glob("step-*"):
        shutil.rmtree(checkpoint)
    assert len([*out.glob("cache/rows-*.pt")]) == 1, "only the stage 'words' leaves the projectors as they are"
    monkeypatch.setattr("crab_core.train.loop.project", None)  # whoever calls it fails
    run(tiny_config, out=out)
    words = [load_file(folder / "words/model.safetensors") for folder in (tiny_run, out)]
    assert all(torch.equal(tensor, words[1][name]) for name, tensor in words[0].items())


def test_a_frozen_encoder_keeps_its_statistics(tiny_run: Path) -> None:
    before, after = (load_file(tiny_run / stage / "model.safetensors") for stage in ("words", "places"))
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == (not name.startswith("vl_projector.")), name


def test_a_stage_may_end_before_its_schedule(tiny_run: Path) -> None:
    steps = [entry["step"] for entry in read_header(tiny_run / "words").training["curve"]]
    assert steps == [1, 2]


def test_a_stage_that_was_killed_before_its_folder_was_written_is_only_written(
    tiny_run: Path, tiny_config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    shutil.copytree(tiny_run, out)
    shutil.rmtree(out / "model")
    told: list[Progress | Note] = []
    run(tiny_config, out=out, on_progress=told.append)
    assert not any(isinstance(one, Progress) and one.stage == "joint" for one in told)
    whole, again = (load_file(folder / "model/model.safetensors") for folder in (tiny_run, out))
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_a_killed_run_goes_on_to_the_same_weights(tiny_run: Path, tiny_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    shutil.copytree(tiny_run, out)
    shutil.rmtree(out / "model")
    shutil.rmtree(out / "step-18")

    def kill_at_step_five(told: Progress | Note) -> None:
        if isinstance(told, Progress) and told.stage == "joint" and told.done >= 5:
            raise Stop

    with pytest.raises(Stop):
        run(tiny_config, out=out, on_progress=kill_at_step_five)
    assert [path.name for path in out.glob("step-*")] == ["step-16"]
    run(tiny_config, out=out)
    whole, resumed = (load_file(folder / "model/model.safetensors") for folder in (tiny_run, out))
    assert whole.keys() == resumed.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_a_checkpoint_is_a_model_folder(tiny_run: Path) -> None:
    assert verify(tiny_run / "step-18").name == "tiny"
    whole, last = (load_file(folder / "model.safetensors") for folder in (tiny_run / "model", tiny_run / "step-18"))
    matched = ("ilora_router", "ilora_B")  # whose heads are put into another order when the stage ends
    assert all(torch.equal(one, last[name]) for name, one in whole.items() if not any(part in name for part in matched))
    for name, router in whole.items():
        if "ilora_router" in name:
            order = [int((last[name] == row).all(1).nonzero()[0, 0]) for row in router]
            up = name.replace("ilora_router", "ilora_B")
            wanted = last[up].unflatten(1, (len(order), -1))[:, order].flatten(1)
            assert sorted(order) == [0, 1] and torch.equal(whole[up], wanted)


def test_a_finished_run_is_not_done_again(tiny_run: Path, tiny_config: Path) -> None:
    told: list[Progress | Note] = []
    run(tiny_config, out=tiny_run, on_progress=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("overrides", "resume", "message"),
    [
        pytest.param(["seed=3"], True, "holds a run with other settings: seed", id="other-settings"),
        pytest.param([], False, "holds a run already", id="no-resume"),
    ],
)
def test_a_folder_holds_one_run(
    overrides: list[str], resume: bool, message: str, tiny_run: Path, tiny_config: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        run(tiny_config, overrides, out=tiny_run, resume=resume)


def test_all_mistakes_of_a_config_are_told_together(tiny_config: Path, tmp_path: Path) -> None:
    overrides = ["stages.0.stepz=3", "stages.1.train=[head]", "data.clips=0", "network.vl.queries=no"]
    with pytest.raises(ConfigError) as caught:
        run(tiny_config, overrides, out=tmp_path / "never")
    told = "\n".join(caught.value.mistakes)
    assert "did you mean 'steps'" in told
    assert "no part is called 'head'" in told
    assert "clips must be at least 1" in told
    assert not (tmp_path / "never").exists()
