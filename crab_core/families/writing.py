"""What every network that writes token by token has in common: one text or several, remembered beginnings, endings.

A subclass says how prompts are laid out, and what it draws beside the text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Protocol

import torch

from crab_core.errors import UsageError
from crab_core.families._base import Encoded, Generated, OnText, Span
from crab_core.families.crab_prefix import Memory, Prompts, begin, layers_of
from crab_core.families.crab_text import Decodes, Teller
from crab_core.families.decoding import write
from crab_core.families.pace import pace, tell_counts
from crab_core.families.steps import Advance, Begun, Decoder, FixedSteps
from crab_core.nn.splice import Stretch
from crab_core.types import Decoding, Prompt


class Ends(Decodes, Protocol):
    """A chat as far as writing needs it."""

    @property
    def end_ids(self) -> frozenset[int]:
        """The ids that end an answer."""

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt in the chat as ids."""


class WritingNetwork(ABC):
    """The writing half of `families._base.Network` and all of `RememberingNetwork`."""

    model: Decoder
    chat: Ends
    steps: FixedSteps | None

    @abstractmethod
    def prompts(self, encoded: Sequence[Encoded], ids: Sequence[Sequence[int]]) -> Prompts:
        """Rows of ids with their media in place."""

    def using(self, encoded: Sequence[Encoded]) -> AbstractContextManager[list[torch.Tensor] | None]:
        """Within the block the network is as it must be to write about what was encoded; a list is to get the states
        (B, W) that predict each token."""
        return nullcontext(None)

    def extras(self, one: Encoded, written: list[int], states: Sequence[torch.Tensor]) -> Mapping[str, object]:
        """What a row of ids says beside its text; the states (W,) predicted them."""
        return {}

    @torch.inference_mode()
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
        teller = Teller(self.chat, on_text) if on_text is not None else None
        with self.using(encoded) as kept:
            laid = self.prompts(encoded, [self.chat.prompt_ids(prompt) for prompt in prompts])
            places = int(self.model.text.config.max_position_embeddings)
            asked = allowed(decoding, laid.spliced.embeds.shape[1], places)
            hear = pace(teller.put if teller is not None else None)
            with begin(self.model, laid, memory) as begun:
                steps = self._steps(asked.max_new_tokens) if kept is None else None
                written = write(self.model, begun, asked, self.chat.end_ids, hear, kept, steps)
        if teller is not None:
            teller.end()
        texts = []
        for index, (one, row, stretches) in enumerate(zip(encoded, written, laid.spliced.stretches, strict=True)):
            extras = self.extras(one, row, [state[index] for state in kept or ()])
            texts.append(generated(self.chat, row, stretches, decoding.max_new_tokens, extras))
        tell_counts(texts, begun.reused)
        return texts

    def _steps(self, new_tokens: int) -> Callable[[Begun], Advance] | None:
        """What makes the steps after prompts; None if their cache is to grow."""
        fixed = self.steps
        if fixed is None:
            return None
        return lambda begun: fixed.after(self.model, begun, new_tokens, layers_of(self.model.text))

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
