"""Token ids against the published (slow, not legacy) Llama tokenizer: tokenisation.json, for a tiny vocabulary."""

import json
from pathlib import Path

import pytest

from crab_core.families.crab_text import Chat
from crab_core.tasks.wording import of_video

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "tokenisation.json").read_text())


@pytest.fixture(scope="module")
def chat() -> Chat:
    return Chat.read(DATA / "tokenizer", system="You are a helpful assistant.")


def test_prompt_ids_are_the_published_ones(chat):
    question = "What is the left instrument of the first sounding instrument?"
    assert chat.prompt_ids(of_video(f"Please answer this question: {question}")) == GOLDEN["avqa"]["prompt_ids"]


@pytest.mark.parametrize("task", ["avqa", "s4"])
def test_target_ids_are_the_published_ones(chat, task):
    output = GOLDEN[task]["output"].removesuffix("</s>")
    assert chat.target_ids(output) == GOLDEN[task]["output_ids"]


def test_added_tokens_have_their_published_places(chat):
    assert chat.placeholders == {400: "image", 403: "video", 406: "audio"}
    assert chat.mask_ids == frozenset(range(411, 417))


def test_mask_tokens_stay_in_the_text_and_the_marks_around_them_do_not(chat):
    text = chat.decode(GOLDEN["s4"]["output_ids"])
    assert text.endswith("first second is <mask_0><mask_1><mask_2><mask_3><mask_4><mask_5>")
