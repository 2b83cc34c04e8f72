"""Packed rows compute what separate rows would."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from crab_core.train.packing import AUDIO, IGNORED, VIDEO, Row, Text, pack

PREFIX = (1, 5, 6, 7)
TEXTS = (Text((8, 9), (10, 2)), Text((11,), (12, 13, 14, 2)), Text((15, 16, 17), (2,)))


@pytest.fixture(scope="module")
def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        initializer_range=0.3,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def separate_logits(llama: LlamaForCausalLM, text: Text) -> torch.Tensor:
    ids = torch.tensor([[*PREFIX, *text.prompt, *text.target]])
    with torch.no_grad():
        return llama(input_ids=ids).logits[0, len(PREFIX) :]


def test_each_text_of_a_packed_row_has_the_logits_of_its_own_row(llama: LlamaForCausalLM) -> None:
    packed = pack([Row(PREFIX, TEXTS), Row(PREFIX, TEXTS[:1])])
    with torch.no_grad():
        hidden = llama.model(
            inputs_embeds=llama.get_input_embeddings()(packed.ids),
            attention_mask=packed.attention,
            position_ids=packed.positions,
            use_cache=False,
        ).last_hidden_state
        logits = llama.lm_head(hidden)
    at = len(PREFIX)
    for text in TEXTS:
        length = len(text.prompt) + len(text.target)
        torch.testing.assert_close(logits[0, at : at + length], separate_logits(llama, text), atol=1e-5, rtol=0)
        at += length
    torch.testing.assert_close(
        logits[1, len(PREFIX) : len(PREFIX) + 4], separate_logits(llama, TEXTS[0]), atol=1e-5, rtol=0
    )


def test_only_targets_have_labels() -> None:
    packed = pack([Row(PREFIX, TEXTS)])
    kept = packed.labels[0][packed.labels[0] != IGNORED].tolist()
    assert kept == [10, 2, 12, 13, 14, 2, 2]


def test_feature_places_are_marked_and_hold_a_valid_id() -> None:
    packed = pack([Row((1, VIDEO, VIDEO, 4, AUDIO), TEXTS[:1])])
    assert packed.video[0].tolist()[:5] == [False, True, True, False, False]
    assert packed.audio[0].tolist()[:5] == [False, False, False, False, True]
    assert packed.ids.min() >= 0


def test_answers_are_marked_in_their_targets_only() -> None:
    packed = pack([Row(PREFIX, (Text((8, 9), (10, 11, 12, 2), answer=(1, 3)), Text((8,), (12, 2))))])
    assert packed.ids[0][packed.answers[0]].tolist() == [11, 12]
    assert (packed.labels[0][packed.answers[0]] != IGNORED).all()


def test_values_weigh_like_answers() -> None:
    packed = pack([Row(PREFIX, (Text((8, 9), (10, 11, 12, 13, 2), answer=(2, 3), values=(0, 3)),))])
    assert packed.ids[0][packed.answers[0]].tolist() == [10, 12, 13]
