"""Text of the Crab+ family: Qwen2.5-Omni's chat as token ids, with a placeholder where each medium goes.

The marks of the chat are put in as ids, and what users say is tokenised apart from them: no text can forge one.
Source: Qwen2.5-Omni's chat template; order of parts by Crab+ (arXiv 2603.04128).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crab_core.errors import ModelError
from crab_core.types import Medium, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
MARKS: Mapping[Medium, tuple[str, str, str]] = {
    "image": ("<|vision_bos|>", "<|IMAGE|>", "<|vision_eos|>"),
    "video": ("<|vision_bos|>", "<|VIDEO|>", "<|vision_eos|>"),
    "audio": ("<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"),
}
SPECIAL = tuple(dict.fromkeys((START, END, PAD, *(token for marks in MARKS.values() for token in marks))))
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class PlusChat:
    """A tokenizer with the chat around it; `tokenizer` is None for a folder that was made without one."""

    tokenizer: PreTrainedTokenizerFast | None
    system: str
    folder: Path

    @classmethod
    def read(cls, folder: Path, system: str) -> PlusChat:
        """The chat of a model folder; raises ModelError if its tokenizer is broken or lacks one of the marks."""
        from transformers import PreTrainedTokenizerFast

        if not (folder / TOKENIZER).is_file():
            return cls(None, system, folder)
        try:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, TypeError, KeyError) as err:
            raise ModelError(
                f"the tokenizer in '{folder}' cannot be read: {err}", hint="Install or fetch the model again."
            ) from err
        lacking = [token for token in SPECIAL if token not in tokenizer.get_vocab()]
        if lacking:
            raise ModelError(f"the tokenizer in '{folder}' lacks {lacking}", hint="It belongs to another model.")
        return cls(tokenizer, system, folder)

    @property
    def end_id(self) -> int:
        """The id that ends a turn."""
        return self._id(END)

    @property
    def end_ids(self) -> frozenset[int]:
        """Every id that ends a text."""
        return frozenset((self._id(END), self._id(PAD)))

    @property
    def pad_id(self) -> int:
        """The id that pads a row."""
        return self._id(PAD)

    @property
    def placeholders(self) -> dict[int, Medium]:
        """Which ids stand for media."""
        return {self._id(marks[1]): kind for kind, marks in MARKS.items()}

    @property
    def mask_ids(self) -> frozenset[int]:
        """None: masks are told in words."""
        return frozenset()

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt in the chat as ids. A medium that is named twice has its place where it is named first."""
        ids: list[int] = []
        for piece, is_mark in self._pieces(prompt):
            ids += [self._id(piece)] if is_mark else self._ids(piece)
        return ids

    def target_ids(self, text: str) -> list[int]:
        """The ids that a model should write: the text and the end."""
        return [*self._ids(text), self.end_id]

    def decode(self, ids: list[int]) -> str:
        """The text of written ids, special tokens left out."""
        return str(self._known.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def spelled(self, ids: list[int]) -> str:
        """The text of ids with special tokens by their names."""
        return str(self._known.decode(ids, clean_up_tokenization_spaces=False))

    def _pieces(self, prompt: Prompt) -> Iterator[tuple[str, bool]]:
        """Runs of text and single marks."""
        yield START, True
        yield f"system\n{self.system}", False
        yield END, True
        yield "\n", False
        yield START, True
        text, named = "user\n", set()
        for part in prompt.parts:
            if part.kind == "text":
                text += part.text
            elif part.kind not in named:
                named.add(part.kind)
                yield text, False
                text = ""
                yield from ((mark, True) for mark in MARKS[part.kind])
        yield text, False
        yield END, True
        yield "\n", False
        yield START, True
        yield "assistant\n", False

    def _ids(self, text: str) -> list[int]:
        """The ids of plain text, in which no mark is a mark."""
        return list(self._known(text, add_special_tokens=False, split_special_tokens=True).input_ids) if text else []

    def _id(self, token: str) -> int:
        return int(self._known.convert_tokens_to_ids(token))

    @property
    def _known(self) -> PreTrainedTokenizerFast:
        if self.tokenizer is None:
            raise ModelError(
                f"the model in '{self.folder}' was imported without a tokenizer: it cannot be asked",
                hint="Import it again with --tokenizer DIR",
            )
        return self.tokenizer
