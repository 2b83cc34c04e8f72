"""What every network that writes token by token has in common: one text or several, remembered beginnings, endings.

A subclass says how a batch of prompts is read and written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from crab_core.errors import UsageError
from crab_core.families._base import Encoded, Generated, OnText, Span
from crab_core.families.crab_prefix import Memory
from crab_core.families.crab_text import Decodes
from crab_core.nn.splice import Stretch
from crab_core.types import Decoding, Prompt


class Ends(Decodes, Protocol):
    """A chat as far as writing needs it."""

    @property
    def end_ids(self) -> frozenset[int]:
        """The ids that end an answer."""


class WritingNetwork(ABC):
    """The writing half of `families._base.Network` and all of `RememberingNetwork`."""

    @abstractmethod
    def write(
        self,
        encoded: Sequence[Encoded],
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_text: OnText | None = None,
        memory: Memory | None = None,
    ) -> list[Generated]:
        """One text a prompt, written together; `on_text` and `memory` are for a prompt alone.

        Raises UsageError if a prompt leaves no room for an answer.
        """

    def generate(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """The text that follows the prompt, told in whole characters to `on_text`.

        Raises UsageError if the prompt leaves no room for an answer.
        """
        return self.write([encoded], [prompt], decoding, on_text)[0]

    def memory(self) -> Memory:
        """An empty memory for the questions about one clip."""
        return Memory()

    def generate_with(
        self, memory: Memory, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """What `generate` gives; the beginning of the prompt is not computed again if it is that of the last one."""
        return self.write([encoded], [prompt], decoding, on_text, memory)[0]

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        """One text a prompt; sampled texts are written one after another, so that each depends on its seed alone."""
        if decoding.temperature > 0:
            return [self.generate(one, prompt, decoding) for one, prompt in zip(encoded, prompts, strict=True)]
        return self.write(encoded, prompts, decoding) if prompts else []


def allowed(decoding: Decoding, length: int, places: int) -> Decoding:
    """The decoding with as many new tokens as a prompt of that length leaves of the decoder's positions.

    Raises UsageError if it leaves none.
    """
    if length >= places:
        raise UsageError(f"the prompt takes {length} places of the model's {places}", hint="Ask a shorter question.")
    return replace(decoding, max_new_tokens=min(decoding.max_new_tokens, places - length))


def until_end(written: Sequence[int], end_ids: frozenset[int]) -> list[int]:
    """The ids before the first that ends an answer."""
    ends = [place for place, token in enumerate(written) if token in end_ids]
    return list(written[: ends[0]] if ends else written)


def generated(
    chat: Ends,
    written: Sequence[int],
    stretches: Sequence[Stretch],
    asked: int = 0,
    extras: Mapping[str, object] | None = None,
) -> Generated:
    """One row's text up to its end, with spans counted without padding; `asked` tokens were allowed."""
    ids = until_end(written, chat.end_ids)
    cut = "length" if len(written) >= asked else "positions"
    first = stretches[0].start
    return Generated(
        text=chat.decode(ids),
        token_ids=tuple(ids),
        spans=tuple(Span(s.kind, s.start - first, s.end - first, s.index) for s in stretches),
        prompt_tokens=stretches[-1].end - first,
        stopped="eos" if len(ids) < len(written) else cut,
        extras=extras or {},
    )
