"""What training needs of a loaded network of the Crab family; its own classes are reached by name only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from crab_core.families._base import Network

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from crab_core.nn.crab import CrabModel
    from crab_core.nn.plus import PlusModel
    from crab_core.types import Clip, Medium, Prompt


class ChatText(Protocol):
    """Prompts and targets as token ids."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The network's own."""

    @property
    def placeholders(self) -> dict[int, Medium]:
        """Which ids stand for media."""

    @property
    def pad_id(self) -> int:
        """The id that pads a row."""

    @property
    def mask_ids(self) -> frozenset[int]:
        """The ids of the mask tokens."""

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt in the chat template, a placeholder where each medium goes."""

    def target_ids(self, text: str) -> list[int]:
        """The ids that a model should write: the text and the end."""


class OpenNetwork(Network, Protocol):
    """A network whose modules and text are open."""

    @property
    def model(self) -> CrabModel | PlusModel:
        """Its modules."""

    @property
    def chat(self) -> ChatText:
        """Its text."""

    def tensors_of(self, clip: Clip) -> Mapping[str, torch.Tensor]:
        """What the encoders read of a clip: `frames` (N, 3, H, W) and `banks` (S, L, 128), without those it lacks."""
