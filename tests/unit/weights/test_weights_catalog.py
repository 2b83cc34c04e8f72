import subprocess
import sys

import pytest

from crab_core.errors import ModelError
from crab_core.weights.catalog import MODELS
from crab_core.weights.convert import rename, rename_all


def test_listing_models_loads_nothing_heavy():
    code = (
        "import sys; from crab_core.weights.catalog import MODELS; import crab_core.weights.folder;"
        "print([m for m in ('torch', 'numpy', 'transformers') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_what_it_is(name):
    spec = MODELS[name]
    assert spec.name == name
    assert spec.summary and spec.licence and spec.tasks
    assert (spec.embedded is None) == (spec.status != "embedded")


@pytest.mark.parametrize("name", ["crab-7b", "crab-plus-7b"])
def test_published_models_are_refused_with_a_way_out(name, monkeypatch, tmp_path):
    monkeypatch.setenv("CRAB_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=f"'{name}' is not on this machine") as caught:
        MODELS[name].folder()
    assert "--model mini" in (caught.value.hint or "")


def test_an_imported_model_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.setenv("CRAB_MODELS", str(tmp_path))
    (tmp_path / "crab-7b").mkdir()
    (tmp_path / "crab-7b" / "crab.json").write_text("{}")
    assert MODELS["crab-7b"].folder() == tmp_path / "crab-7b"


def test_an_embedded_model_that_is_not_installed_is_told():
    import dataclasses

    spec = dataclasses.replace(MODELS["mini"], embedded="families/assets/none")
    with pytest.raises(ModelError, match="not in this installation"):
        spec.folder()


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("base_model.model.model.vl_projector.visual_ln.weight", "vl_projector.norm.weight"),
        ("model.al_projector.audio_query_tokens", "al_projector.queries"),
        ("base_model.model.model.layers.0.mlp.up_proj.lora_B2.weight", "llm.model.layers.0.mlp.up_proj.lora_B2.weight"),
        ("base_model.model.lm_head.weight", "llm.lm_head.weight"),
        ("model.vl_projector.visual_Qformer.bert.encoder.layer.0.output.dense.weight", None),
        (
            "model.vl_projector.visual_Qformer.bert.encoder.layer.1.crossattention.self.key.bias",
            "vl_projector.qformer.encoder.layer.1.crossattention.attention.key.bias",
        ),
        (
            "model.al_projector.audio_Qformer.bert.encoder.layer.0.attention.output.dense.bias",
            "al_projector.qformer.encoder.layer.0.attention.output.dense.bias",
        ),
    ],
)
def test_published_names_become_ours_and_stay(published, ours):
    assert rename(published) == ours
    assert ours is None or rename(ours) == ours


def test_two_names_for_one_tensor_are_refused():
    with pytest.raises(ModelError, match="unknown"):
        rename_all({"lm_head.weight": None, "base_model.model.lm_head.weight": None}, "file")


def test_what_was_not_compared_with_its_repository_says_so():
    shards = [
        source for spec in MODELS.values() for source in spec.sources if any("-of-" in f.name for f in source.files)
    ]
    assert len(shards) == 2
    assert all("not compared" in source.note for source in shards)
