"""The whole network against the published one: spliced batch, logits, loss and greedy text of the tiny model.

Weights: llama_tiny, clip_tiny, beats, finetune_weights (projectors and I-LoRA), avs_finetune_tokens (the embeddings and
output layer of avs_finetune_weights.bin). Cases: forward_small (forward.safetensors with the logits of every fourth
position, the mask branch left out) and generate. Greedy text: only the single prompt, since the published batch attends
to its padding.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig
from crab_core.nn.ilora import from_published, shape_of
from crab_core.nn.splice import Row, Splicer
from crab_core.nn.stored import without_weights
from crab_core.weights.convert import rename, rename_all, rename_beats

DATA = Path(__file__).parent / "data"
ADDED = {400: "image", 403: "video", 406: "audio"}
SPLICER = Splicer(placeholders=ADDED, pad_id=2, mask_ids=frozenset(range(411, 417)))
QFORMER = {"queries": 32, "layers": 2, "hidden": 32, "heads": 4, "ffn": 64, "out_width": 64}


def tiny_config(heads: int, rank: int) -> CrabConfig:
    llm = {
        "hidden_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 417,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    }
    beats = {"patch_width": 24, "width": 48, "layers": 2, "heads": 4, "ffn": 64}
    return CrabConfig.from_dict(
        {
            "visual": {"kind": "clip", "options": {"hidden": 32, "heads": 4, "ffn": 64}},
            "audio": {"kind": "beats", "options": {**beats, "position_kernel": 16, "position_groups": 4}},
            "vl": {**QFORMER, "encoder_width": 32},
            "al": {**QFORMER, "encoder_width": 48},
            "llm": llm,
            "ilora": {"heads": heads, "rank": rank, "alpha": 16.0},
        }
    )


def published_tensors() -> dict[str, torch.Tensor]:
    tensors = {rename(key): tensor for key, tensor in load_file(DATA / "llama_tiny.safetensors").items()}
    for name in ("finetune_weights", "avs_finetune_tokens"):
        tensors |= rename_all(load_file(DATA / f"{name}.safetensors"), name)
    tensors = from_published(tensors)
    tensors |= {rename(key): tensor for key, tensor in load_file(DATA / "clip_tiny.safetensors").items()}
    for key, tensor in torch.load(DATA / "beats.pt", weights_only=True)["model"].items():
        if name := rename_beats(key):
            tensors[f"audio_encoder.{name}"] = tensor
    return {
        key: tensor for key, tensor in tensors.items() if not key.startswith("visual_encoder.tower.encoder.layers.23.")
    }


@pytest.fixture(scope="module")
def model() -> CrabModel:
    tensors = published_tensors()
    with without_weights():
        network = CrabModel(tiny_config(*shape_of(tensors)))
    network.load_tensors(tensors, "tiny")
    return network.eval()


@pytest.fixture(scope="module")
def case() -> dict[str, torch.Tensor]:
    return load_file(DATA / "forward_small.safetensors")


@pytest.fixture(scope="module")
def batch(model, case):
    with torch.inference_mode():
        video = model.see(case["video"])
        rows = [
            row(case, 0, {"video": video, "audio": model.hear(case["audio"])}),
            row(
                case, 1, {"video": video, "audio": model.hear(case["audio1"][None]), "image": model.see(case["image"])}
            ),
        ]
        return SPLICER(rows, model.llm.get_input_embeddings())


def row(case, number, features):
    labels = case[f"lab{number}"].tolist()
    return Row(case[f"ids{number}"].tolist(), sum(label == -100 for label in labels), features)


def test_heads_and_rank_are_read_from_the_tensors():
    assert shape_of(published_tensors()) == (3, 8)
    assert isinstance(tiny_config(3, 8).audio.options["width"], int)


@pytest.mark.parametrize("name", ["attention_mask", "position_ids", "labels"])
def test_spliced_batch_is_exactly_the_published_one(batch, case, name):
    assert torch.equal(getattr(batch, name), case[name].long())


def test_mask_positions_are_the_published_ones(batch, case):
    assert torch.equal(batch.mask_tokens[1], case["mask_token_mask"][1].bool())
    assert not batch.mask_tokens[0].any()  # the published batch marks places 2 to 7 of rows that have no masks


def test_spliced_embeddings(batch, case, record_property):
    error = (batch.embeds - case["inputs_embeds"]).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-5


def test_logits_and_loss(model, batch, case, record_property):
    with torch.inference_mode():
        out = model.llm(
            inputs_embeds=batch.embeds,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            labels=batch.labels,
        )
    real = batch.attention_mask.bool()[:, ::4]  # what stands on padding nobody reads
    error = (out.logits[:, ::4] - case["logits_every_4"])[real].abs().max().item()
    record_property("max_error", error)
    record_property("loss_error", abs(out.loss.item() - case["loss_lm"].item()))
    assert error <= 1e-4
    assert out.loss.item() == pytest.approx(case["loss_lm"].item(), abs=1e-5)


def test_greedy_text_of_one_prompt(model, case):
    expected = load_file(DATA / "generate.safetensors")["bs1"][0].tolist()
    with torch.inference_mode():
        features = {"video": model.see(case["video"]), "audio": model.hear(case["audio"])}
        prompt = row(case, 0, features)
        one = SPLICER(
            [Row(prompt.ids[: prompt.prompt_tokens], prompt.prompt_tokens, features)], model.llm.get_input_embeddings()
        )
        written = model.llm.generate(
            inputs_embeds=one.embeds,
            attention_mask=one.attention_mask,
            max_new_tokens=len(expected) - 1,
            do_sample=False,
            pad_token_id=2,
            eos_token_id=2,
        )
    assert written[0].tolist() == expected[1:]  # the published sequence starts with a <s> that was never fed
