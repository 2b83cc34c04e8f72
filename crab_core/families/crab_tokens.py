"""The tokenizer of a Crab model: the LLM's own with 17 tokens at its end, and the rows that these tokens have.

Source: Crab (arXiv 2503.13068): the rows were never trained with the text weights and stand in no published file; the
values shipped here were drawn again in the order of the published training (`train`) and inference (`infer`) scripts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from crab_core.errors import ModelError
from crab_core.families.crab_text import MASK_TOKENS

ADDED = tuple(f"<{kind}{end}>" for kind in ("image", "video", "audio") for end in ("", "_start", "_end"))
ADDED_SPECIAL = (*ADDED, "<mask_start>", "<mask_end>")
ADDED_COUNT = len(ADDED_SPECIAL) + len(MASK_TOKENS)
TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{% set told.system = '<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n' %}"
    "{% elif message['role'] == 'user' %}{{ bos_token + '[INST] ' + (told.system + message['content']).strip() + "
    "' [/INST]' }}{% set told.system = '' %}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_2_CHAT = "{% set told = namespace(system='') %}" + TEMPLATE
SOURCES = ("tokenizer.model", "tokenizer.json")
WHERE = "Give the folder that has it: --tokenizer DIR"
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


def tokenizer_files(folder: Path, vocabulary: int) -> Mapping[str, bytes]:
    """The files of the tokenizer of an LLM with `vocabulary` tokens, the added ones at its end.

    No blank is put before the text that follows an added token, as the published code has it. Raises ModelError if
    the folder has no tokenizer or one of another vocabulary.
    """
    from tokenizers import pre_tokenizers
    from transformers import LlamaTokenizer

    if not any((folder / name).is_file() for name in SOURCES):
        raise ModelError(f"the folder '{folder}' has no tokenizer: neither {' nor '.join(SOURCES)}", hint=WHERE)
    try:
        tokenizer = LlamaTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as err:  # the readers of four formats, each with errors of its own
        raise ModelError(f"the tokenizer in '{folder}' cannot be read: {str(err).splitlines()[0]}", hint=WHERE) from err
    backend = tokenizer.backend_tokenizer
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
    tokenizer.add_tokens(list(ADDED_SPECIAL), special_tokens=True)
    tokenizer.add_tokens(list(MASK_TOKENS))
    ids = tokenizer.convert_tokens_to_ids([*ADDED_SPECIAL, *MASK_TOKENS])
    if ids != list(range(vocabulary, vocabulary + ADDED_COUNT)):
        raise ModelError(
            f"the tokenizer in '{folder}' has {min(ids)} tokens and the language model {vocabulary}",
            hint="They belong to different models.",
        )
    tokenizer.chat_template = tokenizer.chat_template or LLAMA_2_CHAT
    with tempfile.TemporaryDirectory() as place:
        tokenizer.save_pretrained(place)
        return {name: (Path(place) / name).read_bytes() for name in FILES if (Path(place) / name).is_file()}
