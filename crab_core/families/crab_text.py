"""Text of the Crab family: prompts as token ids, token ids as text, and text told while it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from crab_core.errors import ModelError
from crab_core.families._base import OnText
from crab_core.types import Medium, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PLACEHOLDERS: Mapping[Medium, str] = {"image": "<image>", "video": "<video>", "audio": "<audio>"}
MASK_TOKENS = tuple(f"<mask_{number}>" for number in range(6))
UNFINISHED = "\ufffd"  # what a decoder shows for bytes that do not make a character yet


@dataclass(frozen=True)
class Chat:
    """A tokenizer with its chat template; `system` is the system text, empty for none."""

    tokenizer: PreTrainedTokenizerFast
    system: str = ""

    @classmethod
    def read(cls, folder: Path, system: str) -> Chat:
        """The chat of a model folder; raises ModelError if its tokenizer is missing or broken."""
        from transformers import PreTrainedTokenizerFast

        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError) as err:
            raise ModelError(
                f"the tokenizer in '{folder}' cannot be read: {err}", hint="Install or fetch the model again."
            ) from err
        lacking = [token for token in PLACEHOLDERS.values() if token not in tokenizer.get_vocab()]
        if lacking or tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer in '{folder}' lacks {lacking or 'an end token'}", hint="It belongs to another model."
            )
        return cls(tokenizer, system)

    @property
    def end_id(self) -> int:
        """The id that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def end_ids(self) -> frozenset[int]:
        """Every id that ends a text."""
        return frozenset((self.end_id,))

    @property
    def pad_id(self) -> int:
        """The id that pads a row; the end's if the tokenizer has none of its own."""
        return self.end_id if self.tokenizer.pad_token_id is None else int(self.tokenizer.pad_token_id)

    @property
    def placeholders(self) -> dict[int, Medium]:
        """Which ids stand for media."""
        return {int(self.tokenizer.convert_tokens_to_ids(token)): kind for kind, token in PLACEHOLDERS.items()}

    @property
    def mask_ids(self) -> frozenset[int]:
        """The ids of the mask tokens that the tokenizer has."""
        known = self.tokenizer.get_vocab()
        return frozenset(known[token] for token in MASK_TOKENS if token in known)

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt in the chat template as ids, a placeholder where each medium goes."""
        content = "".join(part.text if part.kind == "text" else PLACEHOLDERS[part.kind] for part in prompt.parts)
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": content})
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def target_ids(self, text: str) -> list[int]:
        """The ids that a model should write: the text and the end."""
        return [*self.tokenizer(text, add_special_tokens=False).input_ids, self.end_id]

    def decode(self, ids: list[int]) -> str:
        """The text of written ids, special tokens left out."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def spelled(self, ids: list[int]) -> str:
        """The text of ids with special tokens by their names."""
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))


class Decodes(Protocol):
    """What turns ids into text."""

    def decode(self, ids: list[int]) -> str:
        """The text of written ids, special tokens left out."""


class Teller:
    """Hears new ids and tells the text in whole characters; all pieces make up the text.

    Only where a model writes bytes that are no text at all, a decoder may change its mind about what was told.
    """

    def __init__(self, chat: Decodes, on_text: OnText) -> None:
        self._chat, self._on_text = chat, on_text
        self._ids: list[int] = []
        self._told = 0

    def put(self, ids: Sequence[int]) -> None:
        """What was written next."""
        self._ids += ids
        text = self._chat.decode(self._ids)
        if not text.endswith(UNFINISHED):
            self._tell(text)

    def end(self) -> None:
        """Tells what was held back."""
        self._tell(self._chat.decode(self._ids))

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self._on_text(text[self._told :])
            self._told = len(text)
