"""The small model's tokenizer: byte-level BPE learnt from the world's texts, used like Llama-2's.

Any text survives it, since what the vocabulary lacks is spelt in bytes. Class names, whole numbers to 100 and tags are
single tokens. After the base vocabulary come the tokens that Crab adds to Llama-2, in its order (arXiv 2503.13068,
released code), so that ids are base vocabulary + index there and here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from crab_core.types import Prompt
from crab_core.world.bank import Bank, load_bank
from crab_core.world.labels import label
from crab_core.world.narration import CLASSES
from crab_core.world.questions import samples
from crab_core.world.scene import sample_scene

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Merge = tuple[str, str]

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
MEDIA_TOKENS = tuple(f"<{medium}{edge}>" for medium in ("image", "video", "audio") for edge in ("", "_start", "_end"))
MASK_ENDS = ("<mask_start>", "<mask_end>")
MASK_TOKENS = tuple(f"<mask_{index}>" for index in range(6))
ADDED_TOKENS = (*MEDIA_TOKENS, *MASK_ENDS, *MASK_TOKENS)
TAGS = tuple(
    f"<{slash}{tag}>"
    for tag in ("answer", "event", "range", "visual_event", "audio_event", "obj")
    for slash in ("", "/")
)
LARGEST_NUMBER, LARGEST_SPACED = 100, 20  # alone, as in coordinates; behind a blank, as seconds are written
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ bos_token + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ message['content'] | trim + eos_token }}{% endif %}"
    "{% endfor %}"
)  # no system text: Llama-2's would cost a small model half of its prompt
_PIECES = r" ?\[/INST\]| ?<\/?[a-z_]+>| ?[0-9]+| ?[A-Za-z]+| ?[^\sA-Za-z0-9<]+| ?<|\s+"
_DIRECT_SHARE = 0.3
_ADDED = re.compile("|".join(ADDED_TOKENS))


def world_corpus(clips: int, seed: int, bank: Bank | None = None) -> Iterator[str]:
    """The prompts and the targets of the first clips of the training split, of all tasks and wordings."""
    bank = bank or load_bank()
    for index in range(clips):
        scene = sample_scene("train", index, seed=seed, bank=bank)
        rng = np.random.default_rng([seed, index])
        for sample in samples(scene, label(scene), rng, direct=_DIRECT_SHARE):
            yield prompt_text(sample.prompt)
            yield sample.target


def prompt_text(prompt: Prompt) -> str:
    """The prompt in one string, with placeholders such as `<video>` where the media go."""
    return "".join(part.text if part.kind == "text" else f"<{part.kind}>" for part in prompt.parts)


def build_tokenizer(texts: Iterable[str], vocab: int = 1000) -> PreTrainedTokenizerFast:
    """A tokenizer with at most `vocab` base tokens and then the 17 added ones; the same texts give the same tokens.

    Its chat template puts `<s>` before a user's message and ` [/INST]` behind it. Raises ValueError if bytes, numbers,
    names and tags alone are more than `vocab`.
    """
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerFast

    tokenizer = _with_whole_words(_trained(texts, vocab), vocab)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (*MEDIA_TOKENS, *MASK_ENDS)])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in MASK_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=UNKNOWN,
        bos_token=START,
        eos_token=END,
        pad_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _trained(texts: Iterable[str], vocab: int) -> Tokenizer:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[UNKNOWN, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in _ADDED.split(text)), trainer)
    return tokenizer


def _with_whole_words(tokenizer: Tokenizer, vocab: int) -> Tokenizer:
    """The tokenizer with every whole word a single token; the rarest learnt merges make room for what lacks."""
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    kept = len(learnt)
    while kept >= 0:
        merges = _completed(tokenizer, learnt[:kept])
        excess = len(_vocabulary(merges)) - vocab
        if excess <= 0:
            return _with_merges(tokenizer, merges)
        kept -= excess
    raise ValueError(f"a vocabulary of {vocab} has no room for the bytes, numbers, names and tags")


def _completed(tokenizer: Tokenizer, learnt: Sequence[Merge]) -> list[Merge]:
    """The merges and, behind them, those that join what they leave of each whole word."""
    merges = list(learnt)
    known = _with_merges(tokenizer, merges)
    for word in _whole_words():
        pieces = known.encode(word, add_special_tokens=False).tokens
        for index in range(1, len(pieces)):
            merges.append(("".join(pieces[:index]), pieces[index]))
        if len(pieces) > 1:
            known = _with_merges(tokenizer, merges)
    return merges


def _whole_words() -> list[str]:
    words, numbers = (*CLASSES, *TAGS), [str(number) for number in range(LARGEST_NUMBER + 1)]
    spaced = (*words, *numbers[: LARGEST_SPACED + 1], "[/INST]")
    return [*words, *numbers, *(f" {word}" for word in spaced)]


def _vocabulary(merges: Sequence[Merge]) -> dict[str, int]:
    from tokenizers import pre_tokenizers

    base = (UNKNOWN, START, END, *sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokens = dict.fromkeys((*base, *("".join(merge) for merge in merges)))
    return {token: number for number, token in enumerate(tokens)}


def _with_merges(tokenizer: Tokenizer, merges: Sequence[Merge]) -> Tokenizer:
    from tokenizers import Tokenizer

    document = json.loads(tokenizer.to_str())
    document["model"] |= {"vocab": _vocabulary(merges), "merges": [list(merge) for merge in merges]}
    return Tokenizer.from_str(json.dumps(document))
