import json
import subprocess
import sys

import pytest
import torch

from crab_core.errors import ModelError, WeightsMismatch
from crab_core.nn.conv_encoders import ConvVisualEncoder
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig, EncoderConfig, ILoraConfig, MediaConfig
from crab_core.nn.qformer import QFormerConfig
from crab_core.nn.stored import without_weights

QFORMER = {"layers": 1, "hidden": 16, "heads": 2, "ffn": 16, "out_width": 24}
DOCUMENT = {
    "visual": {"kind": "conv", "options": {"widths": [4, 4, 8, 12], "image_px": 32}},
    "audio": {"kind": "conv", "options": {"widths": [4, 4, 8, 8], "width": 10}},
    "vl": {**QFORMER, "queries": 3, "encoder_width": 12},
    "al": {**QFORMER, "queries": 2, "encoder_width": 10},
    "llm": {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "vocab_size": 40,
        "tie_word_embeddings": True,
    },
    "ilora": {"heads": 2, "rank": 2},
    "time_tags": 4,
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return CrabModel(CrabConfig.from_dict(DOCUMENT)).eval()


def test_a_config_survives_json():
    config = CrabConfig.from_dict(DOCUMENT)
    assert CrabConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"colour": 1}, "colour", id="unknown-key"),
        pytest.param({"vl": {**DOCUMENT["vl"], "colour": 1}}, "colour", id="unknown-nested-key"),
        pytest.param({"vl": {**DOCUMENT["vl"], "out_width": 8}}, "hidden_size", id="widths-differ"),
        pytest.param({"vl": 3}, "must be a mapping", id="no-mapping"),
        pytest.param({"visual": {"options": {}}}, "kind", id="lacking-kind"),
        pytest.param({"time_tags": -1}, "time_tags", id="negative-tags"),
        pytest.param({"ilora": {"heads": 0}}, "heads and rank", id="no-heads"),
        pytest.param({"media": {"std": [1, 0, 1]}}, "std", id="zero-std"),
        pytest.param({"media": {"seconds": 0}}, "seconds", id="no-seconds"),
        pytest.param({"media": {"sound_window_s": [1, 1]}}, "start < end", id="empty-window"),
        pytest.param({"vl": {**DOCUMENT["vl"], "heads": 3}}, "multiple of heads", id="heads-and-width"),
        pytest.param({"vl": {**DOCUMENT["vl"], "queries": 0}}, "at least 1", id="no-queries"),
        pytest.param({"vl": {**DOCUMENT["vl"], "dropout": 1.0}}, "dropout", id="dropout"),
        pytest.param({"time_tags": "x"}, "'config'", id="not-a-number"),
        pytest.param({"llm": 3}, "'llm' must be a mapping, got 3", id="llm-no-mapping"),
        pytest.param({"llm": {**DOCUMENT["llm"], "num_hidden_layers": 10**7}}, "at most 512", id="absurd-depth"),
        pytest.param({"llm": {**DOCUMENT["llm"], "hidden_size": 10**9}}, "llm.hidden_size must be", id="absurd-width"),
        pytest.param({"llm": {**DOCUMENT["llm"], "vocab_size": float("inf")}}, "llm.vocab_size", id="infinite-words"),
        pytest.param({"media": {"frame_px": 10**6}}, "media.frame_px must be at most 2048", id="absurd-frame"),
        pytest.param({"media": {"seconds": 10**6}}, "media.seconds must be at most", id="absurd-seconds"),
        pytest.param({"media": {"sound_window_s": [0, 10**9]}}, "within 60 s", id="absurd-window"),
        pytest.param({"vl": {**DOCUMENT["vl"], "queries": 10**7}}, "projector.queries must be", id="absurd-queries"),
        pytest.param({"vl": {**DOCUMENT["vl"], "layers": 10**7}}, "projector.layers must be", id="absurd-projector"),
        pytest.param({"ilora": {"heads": 10**7}}, "ilora.heads must be", id="absurd-heads"),
        pytest.param({"time_tags": 10**9}, "time_tags must be at most", id="absurd-tags"),
        pytest.param(
            {"audio": {"kind": "beats", "options": {"layers": 10**7}}}, "beats.layers must be", id="absurd-encoder"
        ),
        pytest.param(
            {"visual": {"kind": "conv", "options": {"widths": [4, 4, -1, 8]}}}, "not be negative", id="negative-width"
        ),
        pytest.param({"mask": {"decoder": {"queries": 10**7}}}, "mask.decoder.queries must be", id="absurd-mask"),
        pytest.param(
            {"llm": {**DOCUMENT["llm"], "num_attention_heads": "two"}}, "at least 1, got 'two'", id="heads-in-words"
        ),
        pytest.param({"llm": {**DOCUMENT["llm"], "num_hidden_layers": 0}}, "at least 1, got 0", id="no-layers"),
    ],
)
def test_impossible_configs_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        CrabConfig.from_dict({**DOCUMENT, **changes})


def test_a_network_of_70_billion_is_within_the_limits():
    llm = {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28_672}
    wide = {**DOCUMENT["vl"], "out_width": 8192}
    llm |= {"vocab_size": 128_256, "max_position_embeddings": 131_072}
    assert CrabConfig.from_dict({**DOCUMENT, "vl": wide, "al": wide, "llm": llm}).llm["num_hidden_layers"] == 80


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"rms_norm_eps": "two"}, "'llm': .*rms_norm_eps.* expected float", id="no-number"),
        pytest.param({"num_attention_heads": 5}, "'llm': .*hidden size", id="heads-and-width"),
        pytest.param({"num_layers": 3}, "unknown key 'num_layers'", id="unknown-key"),
        pytest.param({"num_hidden_layer": 3}, "did you mean 'num_hidden_layers'", id="near-key"),
    ],
)
def test_numbers_that_the_llm_cannot_take_are_refused(changes, told):
    config = CrabConfig.from_dict({**DOCUMENT, "llm": {**DOCUMENT["llm"], **changes}})
    with without_weights(), pytest.raises(ValueError, match=told):
        CrabModel(config)


def test_the_published_numbers_are_the_defaults():
    assert (QFormerConfig().queries, QFormerConfig().hidden, QFormerConfig().out_width) == (32, 768, 4096)
    assert (ILoraConfig().heads, ILoraConfig().rank, ILoraConfig().alpha) == (3, 8, 16.0)
    assert (MediaConfig().seconds, MediaConfig().frame_px) == (10, 224)


def test_unknown_encoders_are_refused():
    config = CrabConfig.from_dict(DOCUMENT | {"visual": EncoderConfig("eye")})
    with pytest.raises(ValueError, match="'eye', there are clip, conv"):
        CrabModel(config)


def test_the_small_network_imports_no_large_encoder():
    code = f"""
import sys
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig
CrabModel(CrabConfig.from_dict({DOCUMENT!r}))
print([name for name in sys.modules if name.endswith(("nn.beats", "nn.clip", "modeling_clip", "bitsandbytes"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frames_and_seconds_become_tokens_of_the_llm(model):
    with torch.inference_mode():
        assert model.see(torch.randn(5, 3, 32, 32)).shape == (5, 3, 24)
        assert model.hear(torch.randn(5, 98, 128)).shape == (5, 2, 24)


def test_detail_puts_the_first_convolutions_beside_the_fine_map():
    torch.manual_seed(0)
    widths = (4, 6, 8, 12)
    plain, fine = (ConvVisualEncoder(widths, 32, detail=detail).eval() for detail in (False, True))
    fine.load_state_dict(plain.state_dict())
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        (small, patches), (large, same) = plain(pictures), fine(pictures)
        half = fine.stem[0](pictures)  # (2, 4, 16, 16)
    assert torch.equal(patches, same) and torch.equal(large[..., : 8 + 12], small)
    assert large.shape == (2, 16, 8 + 12 + 16 * 4 + 4 * 6)
    first = large[:, 5, 20 : 20 + 64].unflatten(1, (4, 4, 4))  # the patch in the second row and column: (2, C, 4, 4)
    assert torch.equal(first, half[:, :, 4:8, 4:8])


def test_the_same_picture_at_another_second_is_other_tokens_until_the_tags_end(model):
    pictures = torch.randn(1, 3, 32, 32).expand(6, -1, -1, -1)
    with torch.inference_mode():
        seen = model.see(pictures)
        moved = model.see(pictures[:1], torch.tensor([2]))
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)
    assert torch.allclose(seen[2], moved[0], atol=1e-5)
    assert torch.allclose(seen[3], seen[5], atol=1e-5)


def test_without_time_tags_seconds_do_not_matter():
    torch.manual_seed(0)
    plain = CrabModel(CrabConfig.from_dict({**DOCUMENT, "time_tags": 0, "ilora": None})).eval()
    banks = torch.randn(1, 98, 128).expand(2, -1, -1)
    with torch.inference_mode():
        heard = plain.hear(banks)
    assert torch.allclose(heard[0], heard[1], atol=1e-6)
    assert plain.video_tags is None


def test_tensors_have_the_names_of_a_network_without_adapter_plumbing(model):
    names = set(model.tensors())
    assert "llm.model.layers.0.self_attn.q_proj.weight" in names
    assert "llm.model.layers.0.self_attn.q_proj.ilora_A.weight" in names
    assert not any(word in name for name in names for word in ("base_layer", "default", "lm_head"))


def test_an_adapter_adds_names_and_changes_none():
    bare = CrabModel(CrabConfig.from_dict({**DOCUMENT, "ilora": None}))
    before = set(bare.tensors())
    bare.add_ilora(ILoraConfig(heads=2, rank=2))
    assert before < set(bare.tensors())
    assert bare.config == CrabConfig.from_dict({**DOCUMENT, "ilora": ILoraConfig(heads=2, rank=2)})


def test_a_network_without_weights_is_filled_and_computes_the_same(model):
    with without_weights():
        empty = CrabModel(model.config)
    assert all(parameter.is_meta for parameter in empty.parameters())
    empty.load_tensors(model.tensors(), "here")
    empty.eval()
    ids = torch.arange(7)[None]
    with torch.inference_mode():
        assert torch.equal(empty.llm(ids).logits, model.llm(ids).logits)
        assert torch.equal(empty.hear(torch.ones(2, 98, 128)), model.hear(torch.ones(2, 98, 128)))
    assert empty.llm.lm_head.weight is empty.llm.get_input_embeddings().weight


def test_a_state_dict_fits_as_well(model):
    with without_weights():
        empty = CrabModel(model.config)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "llm.lm_head.weight"}
    empty.load_tensors(state, "here")
    assert all(torch.equal(tensor, model.tensors()[name]) for name, tensor in empty.tensors().items())


def test_parameters_have_weights_again_afterwards():
    with without_weights():
        pass
    assert not torch.nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        pytest.param(lambda t: t.pop("vl_projector.queries"), WeightsMismatch, "vl_projector.queries", id="lacking"),
        pytest.param(lambda t: t.update(x=torch.zeros(1)), WeightsMismatch, "unknown 'x'", id="unknown"),
        pytest.param(
            lambda t: t.update({"vl_projector.queries": torch.zeros(2, 16)}), ModelError, r"\(2, 16\)", id="shape"
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(model, change, error, told):
    tensors = model.tensors()
    change(tensors)
    with without_weights():
        empty = CrabModel(model.config)
    with pytest.raises(error, match=told):
        empty.load_tensors(tensors, "there")
