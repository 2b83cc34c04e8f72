"""The tokenizer of a Crab+ model: Qwen2.5-Omni's own, or plain bytes for a test network that has none."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_core.errors import ModelError
from crab_core.families.plus_text import END, MARKS, PAD, SPECIAL, START, TOKENIZER

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SOURCES = ("tokenizer.json", "vocab.json")
FILES = (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json")
BYTES = 256
MOST_OF_A_TEST_NETWORK = 4096  # tokens; Qwen's vocabulary has 152 064
IDS: Mapping[str, tuple[str, ...]] = {  # a mark, and the config's names of its id
    START: ("bos_token_id",),
    END: ("eos_token_id",),
    PAD: ("pad_token_id",),
    MARKS["image"][0]: ("vision_start_token_id",),
    MARKS["image"][2]: ("vision_end_token_id",),
    MARKS["image"][1]: ("image_token_index", "image_token_id"),
    MARKS["video"][1]: ("video_token_index", "video_token_id"),
    MARKS["audio"][0]: ("audio_start_token_id",),
    MARKS["audio"][1]: ("audio_token_index", "audio_token_id"),
    MARKS["audio"][2]: ("audio_end_token_id",),
}


def tokenizer_files(folder: Path, thinker: Mapping[str, Any], vocabulary: int) -> Mapping[str, bytes]:
    """The files of the tokenizer in a folder; none if it has none.

    Raises ModelError if it cannot be read, lacks a mark, or belongs to another network.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in SOURCES):
        return {}
    hint = "Give the folder of Qwen2.5-Omni-7B's own: --tokenizer DIR"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        known = tokenizer.get_vocab()
    except Exception as err:  # the readers of several formats, each with errors of its own
        raise ModelError(f"the tokenizer in '{folder}' cannot be read: {str(err).splitlines()[0]}", hint=hint) from err
    lacking = [token for token in SPECIAL if token not in known]
    if lacking:
        raise ModelError(f"the tokenizer in '{folder}' lacks {lacking}", hint=hint)
    for token, number in _told(thinker).items():
        if token not in (START, END, PAD) and known[token] != number:
            raise ModelError(
                f"the tokenizer in '{folder}' has '{token}' as {known[token]}, the network as {number}", hint=hint
            )
    if max(known.values()) >= vocabulary:
        raise ModelError(f"the tokenizer in '{folder}' has more tokens than the network's {vocabulary}", hint=hint)
    return _saved(tokenizer)


def byte_files(thinker: Mapping[str, Any], vocabulary: int) -> Mapping[str, bytes]:
    """A tokenizer of single bytes with the marks where the config has them, for a small network; else none."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    told = _told(thinker)
    numbers = sorted(told.values())
    if not BYTES < vocabulary <= MOST_OF_A_TEST_NETWORK or len(told) < len(SPECIAL) or numbers[0] < BYTES:
        return {}
    letters = dict(zip(_byte_letters(), range(BYTES), strict=True))
    names = {number: token for token, number in told.items()}
    fillers = {names.get(number, f"<|unused_{number}|>"): number for number in range(BYTES, vocabulary)}
    backend = Tokenizer(models.BPE(vocab={**letters, **fillers}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in fillers])
    return _saved(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, pad_token=PAD))


def _told(thinker: Mapping[str, Any]) -> dict[str, int]:
    """The ids that the config tells."""
    found = {token: next((thinker[key] for key in keys if key in thinker), None) for token, keys in IDS.items()}
    return {token: number for token, number in found.items() if isinstance(number, int)}


def _byte_letters() -> list[str]:
    """The letter that byte-level tokenizers write for each byte, in the order of bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (one for one in range(BYTES) if one not in plain)
    letters = {byte: chr(byte) for byte in plain} | {byte: chr(BYTES + place) for place, byte in enumerate(others)}
    return [letters[byte] for byte in range(BYTES)]


def _saved(tokenizer: PreTrainedTokenizerFast) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        return {name: (Path(place) / name).read_bytes() for name in FILES if (Path(place) / name).is_file()}
