"""The tiny release, imported and loaded as a user would, against the published network.

Goldens: forward_small, generate, tokenisation.json, and masks_tiny (the forced answer, ids and mask logits, the loss of
language model and mask together, and its truth as bytes). The published run had the mask weights loaded, so its text
was written with their token tables too.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_release import write_release

from crab_core.engine.session import load
from crab_core.families._base import Encoded
from crab_core.families.crab_import import Choices, import_crab
from crab_core.nn.capability import mask_states
from crab_core.nn.mask_losses import mask_loss
from crab_core.nn.splice import Row, Splicer
from crab_core.tasks.wording import of_video
from crab_core.types import Decoding, Part, Prompt
from crab_core.weights.release import Release

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "tokenisation.json").read_text())
QUESTION = "Please answer this question: What is the left instrument of the first sounding instrument?"
SEGMENT = Prompt(
    (
        Part("text", "This is an image:\n<image_start>"),
        Part("image"),
        Part("text", "<image_end>\nThis is an audio:\n<audio_start>"),
        Part("audio"),
        Part("text", "<audio_end>\nPlease segment out the object that makes the sound in the image."),
    )
)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    root = write_release(tmp_path_factory.mktemp("release") / "tiny")
    files = Release(
        root / "llama",
        root / "clip",
        root / "beats.pt",
        root / "finetune.bin",
        root / "avs.bin",
        bert_config=root / "bert.json",
    )
    import_crab(files, Choices(positions=str(root / "positions.safetensors")), root / "model")
    return load(root / "model", device="cpu", dtype="float32").network


@pytest.fixture(scope="module")
def case():
    return load_file(DATA / "forward_small.safetensors") | load_file(DATA / "masks_tiny.safetensors")


@pytest.fixture(scope="module")
def seen(network, case):
    """The picture and the sound of the published segmentation sample."""
    return network.encode_tensors("s4", frames=case["image"], banks=case["audio1"][None])


@pytest.fixture(scope="module")
def batch(network, case, seen):
    """The published batch of two: a question about a video, and a picture to segment."""
    video = network.encode_tensors("avqa", frames=case["video"], banks=case["audio"]).features
    rows = []
    for number, features in ((0, video), (1, seen.features)):
        labels = case[f"lab{number}"].tolist()
        rows.append(Row(case[f"ids{number}"].tolist(), labels.count(-100), features))
    chat, llm = network.chat, network.model.llm
    with torch.inference_mode(), network.model.using("avs"):
        spliced = Splicer(chat.placeholders, chat.pad_id, chat.mask_ids)(rows, llm.get_input_embeddings())
        out = llm(
            inputs_embeds=spliced.embeds,
            attention_mask=spliced.attention_mask,
            position_ids=spliced.position_ids,
            labels=spliced.labels,
            output_hidden_states=True,
        )
    return spliced, out


def test_logits_of_an_imported_model(batch, case, record_property):
    spliced, out = batch
    real = spliced.attention_mask.bool()[:, ::4]
    error = (out.logits[:, ::4] - case["logits_every_4"])[real].abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-4


def test_loss_of_words_and_mask_together(network, batch, case, seen):
    spliced, out = batch
    states = mask_states(out.hidden_states[-1], spliced.mask_tokens, 6)
    with torch.inference_mode():
        logits = network.model.capabilities["avs"].draw(states, seen.layers)
    loss = out.loss + mask_loss([logits[0]], [case["gt_mask"].float()], ["binary"])
    assert loss.item() == pytest.approx(case["loss_avs"].item(), abs=2e-5)


def test_mask_of_a_forced_answer(network, case, seen, record_property):
    answer = GOLDEN["s4"]["output"].removesuffix("</s>")
    generated = network.force(seen, SEGMENT, answer)
    assert network.chat.prompt_ids(SEGMENT) == GOLDEN["s4"]["prompt_ids"]
    assert [*generated.token_ids, network.chat.end_id] == case["avs_ids"][0, 1:].tolist()
    logits = generated.extras["mask_logits"]
    error = (logits - case["avs_mask"]).abs().max().item()
    record_property("max_error", error)
    assert error <= 1e-4
    assert torch.equal(logits > 0, case["avs_mask"] > 0)
    assert generated.prompt_tokens == generated.spans[-1].end


def test_greedy_text_of_an_imported_model(network, case):
    expected = load_file(DATA / "generate.safetensors")["bs1"][0, 1:].tolist()
    features = network.encode_tensors("avqa", frames=case["video"], banks=case["audio"]).features
    written = network.generate(Encoded(features, "avs"), of_video(QUESTION), Decoding(max_new_tokens=len(expected)))
    assert list(written.token_ids) == expected
    assert "mask_logits" not in written.extras


def test_a_written_mask_is_the_forced_one(network, seen, monkeypatch):
    """The states collected step by step are those of the whole answer read at once."""
    answer = GOLDEN["s4"]["output"].removesuffix("</s>")
    target = network.chat.target_ids(answer)
    places = iter(range(len(target)))

    def forced(states):
        logits = torch.full((*states.shape[:-1], 1 + max(target)), -1e9)
        logits[..., target[next(places)]] = 0
        return logits

    monkeypatch.setattr(network.model, "logits", forced)
    written = network.generate(seen, SEGMENT, Decoding(max_new_tokens=len(target)))
    monkeypatch.undo()
    assert list(written.token_ids) == target[:-1]
    whole = network.force(seen, SEGMENT, answer).extras["mask_logits"]
    assert (written.extras["mask_logits"] - whole).abs().max() <= 1e-4


def test_an_answer_without_a_mask_draws_none(network, seen):
    assert "mask_logits" not in network.force(seen, SEGMENT, "a man").extras


def test_the_tables_of_text_are_back_after_a_mask(network, seen):
    before = network.model.llm.get_input_embeddings(), network.model.llm.get_output_embeddings()
    network.force(seen, SEGMENT, "a man")
    assert (network.model.llm.get_input_embeddings(), network.model.llm.get_output_embeddings()) == before
