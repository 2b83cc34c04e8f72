"""The tokenizer: nothing is lost, what matters is one token, and the added tokens stand where Crab-7B has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crab_core.train.tokenizer import ADDED_TOKENS, TAGS, build_tokenizer, prompt_text, world_corpus
from crab_core.world.narration import CLASSES

CLIPS = 120
PUBLISHED = """
<image> <image_start> <image_end> <video> <video_start> <video_end> <audio> <audio_start> <audio_end>
<mask_start> <mask_end> <mask_0> <mask_1> <mask_2> <mask_3> <mask_4> <mask_5>
"""


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    return list(world_corpus(CLIPS, seed=3))


@pytest.fixture(scope="module")
def tokenizer(corpus: list[str]) -> Any:
    return build_tokenizer(corpus)


def ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def test_the_added_tokens_follow_the_base_in_the_published_order(tokenizer: Any) -> None:
    base = len(tokenizer) - len(ADDED_TOKENS)
    assert tokenizer.convert_tokens_to_ids(PUBLISHED.split()) == list(range(base, base + 17))
    assert base <= 1000


def test_the_base_begins_like_llama(tokenizer: Any) -> None:
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["<unk>", "<s>", "</s>"]
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer.padding_side == "left"


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 50, 99, 100])
def test_a_whole_number_is_one_token(tokenizer: Any, number: int) -> None:
    assert len(ids(tokenizer, str(number))) == 1
    assert len(ids(tokenizer, f"({number} {number},")) == 4 + (number > 20)


@pytest.mark.parametrize("word", [*CLASSES, *TAGS])
def test_a_name_and_a_tag_are_one_token_with_and_without_a_blank(tokenizer: Any, word: str) -> None:
    assert len(ids(tokenizer, word)) == len(ids(tokenizer, f" {word}")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "I see a cat from 0 to 10.",
        "Wo spielt die Geige? 日本語 🎻",
        "  two  blanks\n\n\tand tabs ",
        "<video_start><video><video_end>\nThis <answer> yes </answer>.</s>",
        "1234567 <foo> < bar",
    ],
    ids=["plain", "foreign", "blanks", "tokens", "strange"],
)
def test_text_survives(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


@given(st.text(max_size=80))
def test_any_text_survives(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_mask_tokens_are_kept_when_special_ones_are_skipped(tokenizer: Any) -> None:
    said = ids(tokenizer, "<mask_start><mask_0><mask_5><mask_end></s>")
    assert len(said) == 5
    assert tokenizer.decode(said, skip_special_tokens=True).replace(" ", "") == "<mask_0><mask_5>"


def test_the_chat_template_opens_and_closes_a_message(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": " What is <video>? "}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "<s>What is <video>? [/INST]"
    messages.append({"role": "assistant", "content": "A dog."})
    assert tokenizer.apply_chat_template(messages, tokenize=False) == f"{prompt}A dog.</s>"


def test_a_saved_tokenizer_is_the_same(tokenizer: Any, corpus: list[str], tmp_path: Path) -> None:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    tokenizer.save_pretrained(tmp_path)
    for kind in (AutoTokenizer, PreTrainedTokenizerFast):
        loaded = kind.from_pretrained(tmp_path)
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded.chat_template == tokenizer.chat_template
        assert loaded.padding_side == "left"
        assert [ids(loaded, text) for text in corpus[:200]] == [ids(tokenizer, text) for text in corpus[:200]]


def test_the_same_texts_give_the_same_tokenizer(tokenizer: Any, corpus: list[str]) -> None:
    assert build_tokenizer(corpus).get_vocab() == tokenizer.get_vocab()


def test_the_corpus_holds_prompts_and_targets_of_every_task(corpus: list[str]) -> None:
    everything = "\n".join(corpus)
    for piece in (
        "Please answer this question: ",
        "question briefly: ",
        "<range>",
        "<audio_event>",
        "Please describe this",
    ):
        assert piece in everything
    assert list(world_corpus(2, seed=3)) == corpus[: len(list(world_corpus(2, seed=3)))]


def test_a_small_vocabulary_loses_learnt_words_but_no_whole_one(corpus: list[str]) -> None:
    small = build_tokenizer(corpus[:400], vocab=720)
    assert len(small) <= 720 + len(ADDED_TOKENS)
    assert len(ids(small, " saxophone")) == len(ids(small, "100")) == 1


def test_a_vocabulary_without_room_is_refused(corpus: list[str]) -> None:
    with pytest.raises(ValueError, match="a vocabulary of 300 has no room"):
        build_tokenizer(corpus[:50], vocab=300)


def test_a_prompt_is_spelt_with_its_placeholders() -> None:
    from crab_core.registry import TASKS

    assert "<video_start><video><video_end>" in prompt_text(TASKS["ave"].load().wording(None, "train"))
