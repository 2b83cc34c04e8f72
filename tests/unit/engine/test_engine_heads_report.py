"""The whole way from a clip to a report, with a tiny random network of the Crab family."""

import json

import numpy as np
import pytest
from fake_family import write_clip
from tiny_crab import write_tiny

import crab_core
from crab_core.engine.heads import HeadOptions
from crab_core.engine.session import load
from crab_core.errors import ModelError, UsageError
from crab_core.types import Decoding

QUESTION = "What sounds first?"
SHORT = Decoding(max_new_tokens=10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_tiny(tmp_path_factory.mktemp("heads") / "tiny")
    return load(folder, device="cpu")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {
        "both": write_clip(folder / "both.mp4"),
        "mute": write_clip(folder / "mute.mp4", sound=False),
        "sound": write_clip(folder / "sound.mp4", pictures=False),
    }


@pytest.fixture(scope="module")
def seen(model, paths):
    return model.look(paths["both"])


@pytest.fixture(scope="module")
def report(seen):
    return seen.heads(QUESTION, options=HeadOptions(raw=True), decoding=SHORT)


def test_the_answer_is_the_one_that_ask_gives(seen, report):
    plain = seen.ask(QUESTION, decoding=SHORT)
    assert report.result.raw_text == plain.raw_text
    assert report.result.answer == plain.answer


def test_shares_sum_to_one_wherever_they_are_summed(report):
    for shares in (report.shares, report.by_router, report.raw, *report.by_kind.values(), *report.by_second.values()):
        np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(report.raw.mean(0), report.shares, atol=1e-6)
    assert {"wording", "video", "audio", "question"} <= set(report.by_kind)
    assert report.layers == (0, 1)
    assert len(report.projections) == 7


def test_heads_are_compared_in_every_layer_and_projection(report):
    alike = report.alike
    assert alike.pairs == ((0, 1), (0, 2), (1, 2))
    assert alike.cka.shape == (2, 7, 3)
    assert alike.angles_deg.shape[:3] == (2, 7, 3)
    assert ((alike.cka > 0) & (alike.cka <= 1)).all()
    assert (np.diff(alike.angles_deg, axis=-1) >= 0).all()
    np.testing.assert_array_equal(report.arrays()["alike_angles_deg"], alike.angles_deg)
    told = report.to_dict()["alike"]
    np.testing.assert_allclose(told["angle_deg"], alike.angles_deg.mean(-1), atol=0.01)
    np.testing.assert_allclose(told["cka"], alike.cka, atol=1e-5)


def test_routers_are_as_undecided_as_their_weights(report):
    """What was added up while the model ran is what all its weights give."""
    entropy = -(report.raw * np.log2(report.raw)).sum(-1).mean(1)  # (R,)
    np.testing.assert_allclose(report.routing.entropy.ravel(), entropy, atol=1e-5)
    mean = report.raw.mean(1)
    whole = -(mean * np.log2(mean)).sum(-1)
    np.testing.assert_allclose(report.routing.token.ravel(), whole - entropy, atol=1e-5)
    assert (report.routing.kind < report.routing.token + 1e-6).all()  # a kind is known once the token is
    assert report.to_dict()["routing"]["most"] == pytest.approx(np.log2(3), abs=1e-5)


def test_maps_of_everything_make_one(report):
    assert report.maps["video"].shape == (3, 3, 2, 2)
    assert report.maps["audio"].shape[:3] == (3, 3, 1)
    assert sum(sum(values) for values in report.mass.values()) == pytest.approx(1, abs=1e-5)
    assert report.relevance.sum() == pytest.approx(1, abs=1e-5)
    assert report.frames.shape == (3, 24, 32, 3)


@pytest.mark.parametrize("method", ["gradient", "share"])
def test_other_methods_give_other_maps(seen, report, method):
    other = seen.heads(QUESTION, options=HeadOptions(method=method, ablate=False), decoding=SHORT)
    assert other.ablations == ()
    assert sum(sum(values) for values in other.mass.values()) == pytest.approx(1, abs=1e-5)
    assert not np.allclose(other.maps["video"], report.maps["video"])
    assert other.raw is None


def test_ablations_start_with_the_whole_and_end_with_none(report):
    names = [one.name for one in report.ablations]
    assert names == [
        "all heads",
        *[f"without head {h}" for h in (1, 2, 3)],
        *[f"only head {h}" for h in (1, 2, 3)],
        "shares all even",
        "shares exchanged",
        "no head",
    ]
    whole = report.ablations[0]
    assert whole.raw_text == report.result.raw_text
    assert whole.log_probability <= 0
    assert len({one.log_probability for one in report.ablations}) == len(names)  # every head does something


def test_a_report_can_be_written(report, tmp_path):
    document = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert document["schema"] == "crab.heads/1"
    assert document["result"]["question"] == QUESTION
    assert len(document["tokens"]) == len(document["relevance"])
    np.savez_compressed(tmp_path / "heads.npz", **report.arrays())
    with np.load(tmp_path / "heads.npz") as arrays:
        np.testing.assert_array_equal(arrays["map_video"], report.maps["video"])
        assert arrays["raw"].shape[0] == len(arrays["routers"]) == 14


@pytest.mark.parametrize(
    ("name", "media", "note"),
    [
        pytest.param("mute", ["video"], "no sound: no sound maps", id="no-sound"),
        pytest.param("sound", ["audio"], "the clip has no picture: no pixel maps", id="no-picture"),
    ],
)
def test_a_lacking_medium_is_said(model, paths, name, media, note):
    found = model.look(paths[name]).heads(QUESTION, options=HeadOptions(ablate=False), decoding=SHORT)
    assert list(found.maps) == media
    assert note in found.notes


def test_one_head_has_all_the_share(paths, tmp_path):
    folder = write_tiny(tmp_path / "one", heads=1)
    found = load(folder, device="cpu").look(paths["both"]).heads(QUESTION, decoding=SHORT)
    assert (found.shares == 1).all()
    assert [one.name for one in found.ablations] == ["all heads", "no head"]
    assert "the model has one head: its share is 1 everywhere" in found.notes


def test_models_without_heads_are_refused(paths, tmp_path):
    folder = write_tiny(tmp_path / "bare", heads=0)
    with pytest.raises(ModelError, match="model 'tiny' has no I-LoRA"):
        load(folder, device="cpu").look(paths["both"]).heads(QUESTION)


def test_a_family_that_shows_no_heads_is_refused(folder, clip):
    with pytest.raises(ModelError, match="its family 'fake' shows none"):
        load(folder, device="cpu").look(clip).heads(QUESTION)


def test_a_question_is_checked(seen):
    with pytest.raises(UsageError, match="needs a question"):
        seen.heads(" ")


def test_the_model_alone_gives_the_report_of_its_look(model, paths, report):
    found = model.heads(paths["both"], QUESTION, options=HeadOptions(ablate=False), decoding=SHORT)
    assert isinstance(found, crab_core.HeadReport)
    assert crab_core.HeadOptions is HeadOptions
    np.testing.assert_array_equal(found.shares, report.shares)
    assert found.result.raw_text == report.result.raw_text


def test_a_model_without_heads_is_refused_before_the_clip_is_opened(tmp_path):
    folder = write_tiny(tmp_path / "bare", heads=0)
    with pytest.raises(ModelError, match="model 'tiny' has no I-LoRA"):
        load(folder, device="cpu").heads(tmp_path / "no such clip.mp4", QUESTION)


def test_dropping_all_heads_is_the_answer_of_the_bare_model(model, paths, report):
    layers = [module for module in model.network.model.llm.modules() if hasattr(module, "ilora_router")]
    assert layers
    for layer in layers:
        layer.enable_adapters(False)
    try:
        bare = model.look(paths["both"]).ask(QUESTION, decoding=SHORT)
    finally:
        for layer in layers:
            layer.enable_adapters(True)
    assert report.ablations[-1].raw_text == bare.raw_text
