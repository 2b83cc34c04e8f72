"""The Crab+ network: Qwen2.5-Omni's thinker from transformers, with interaction-aware LoRA in all three of its parts.

    patches (n, 1176) -> vision tower -> (T, Q, W)  \
                                                      splice -> text decoder -> logits
    log-mel (128, F)  -> audio tower  -> (S, Q, W)  /

Source: Crab+ (arXiv 2603.04128); the published adapter wraps q, k, v, o, gate, up and down projections wherever they
occur: in the text decoder, q, k, v of the audio tower, and the MLPs of the vision tower. Tensors keep their published
names, which transformers changed with 5.21. Parity: tests/parity_plus.
Letters: B rows, L positions, n patches, T steps of two frames, F mel frames, Q tokens, W width of the decoder.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from crab_core.nn.crab_config import ILoraConfig
from crab_core.nn.plus_config import PlusConfig
from crab_core.nn.plus_tables import round_tables
from crab_core.nn.stored import StoredModule, plain_name

if TYPE_CHECKING:
    from transformers import Cache, Qwen2_5OmniThinkerConfig

# transformers' names from 5.21 on, and the published ones
RENAMED = (("model.language_model.", "model."), ("model.audio_tower.", "audio_tower."), ("model.visual.", "visual."))
MERGED = 2  # patches a side that become one token


class PlusModel(StoredModule):
    """The network that a config describes, with random weights; `thinker` is transformers' module."""

    def __init__(self, config: PlusConfig) -> None:
        super().__init__()
        from transformers import Qwen2_5OmniThinkerForConditionalGeneration

        self.config = dataclasses.replace(config, ilora=None)
        self.thinker = Qwen2_5OmniThinkerForConditionalGeneration(thinker_config(config.thinker))
        if config.tables == "bfloat16":
            round_tables(self.text, self.audio_tower, self.visual)
        if config.ilora is not None:
            self.add_ilora(config.ilora)

    def add_ilora(self, ilora: ILoraConfig) -> None:
        """Wraps the linears of all parts; the network computes the same until the adapter has learnt something."""
        from crab_core.nn.ilora import inject

        with torch.device(self.device):  # without weights, nothing is drawn either: 870 million numbers in the release
            inject(
                self.thinker,
                heads=ilora.heads,
                rank=ilora.rank,
                alpha=ilora.alpha,
                dropout=ilora.dropout,
                targets=ilora.targets,
            )
        self.take_ilora(ilora)

    def take_ilora(self, ilora: ILoraConfig) -> None:
        """Says in the config what the adapter is."""
        self.config = dataclasses.replace(self.config, ilora=ilora)

    @property
    def llm(self) -> nn.Module:
        """All that carries adapters: the whole thinker."""
        return self.thinker

    @property
    def text(self) -> nn.Module:
        """The text decoder without its output layer."""
        inner = self.thinker.model
        return inner.language_model if hasattr(inner, "language_model") else inner

    @property
    def audio_tower(self) -> nn.Module:
        """What hears."""
        return self._holder.audio_tower

    @property
    def visual(self) -> nn.Module:
        """What sees."""
        return self._holder.visual

    @property
    def per_second(self) -> int:
        """Positions that a second of a video takes."""
        return int(self.thinker.config.position_id_per_seconds)

    def see(self, patches: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """The tokens (T, Q, W) of one picture or video: patches (T h w, 1176), `grid` is (T, h, w) in patches."""
        where = torch.tensor([grid], device=patches.device)
        tokens = self.visual(patches.to(self.dtype), grid_thw=where).pooler_output
        return tokens.unflatten(0, (grid[0], -1))

    def hear(self, mel: torch.Tensor) -> torch.Tensor:
        """The tokens (n, W), 25 a second, of one sound as a log-mel spectrogram (128, F)."""
        length = torch.tensor([mel.shape[-1]], device=mel.device)
        after = (length - 1) // 2 + 1
        return self.audio_tower(mel.to(self.dtype), feature_lens=length, aftercnn_lens=after).last_hidden_state

    def read(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """The states (B, L, W) after the last norm, of embeddings (B, L, W) at positions (3, B, L)."""
        return self.text(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(..., vocabulary) of states (..., W)."""
        return self.thinker.lm_head(states)

    @property
    def embed(self) -> nn.Module:
        """Ids to embeddings."""
        return self.text.embed_tokens

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return self.text.embed_tokens.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.text.embed_tokens.weight.device

    def stored_name(self, key: str) -> str:
        """The published name, whichever tree transformers has; adapters under our names."""
        return published_name(plain_name(key).removeprefix("thinker."))

    def decoder(self) -> tuple[str, nn.Module]:
        """The text decoder."""
        inner = self.thinker.model
        return ("thinker.model.language_model" if hasattr(inner, "language_model") else "thinker.model"), self.text

    def tied(self) -> tuple[str, ...]:
        """The output layer, if it is tied to the embeddings."""
        return ("thinker.lm_head.weight",) if self.thinker.config.tie_word_embeddings else ()

    def tie(self) -> None:
        """Makes tied tables one."""
        if self.tied():
            self.thinker.lm_head.weight = self.text.embed_tokens.weight

    @property
    def _holder(self) -> nn.Module:
        """The module that has the towers: below `model` from transformers 5.21 on."""
        inner = self.thinker.model
        return inner if hasattr(inner, "visual") else self.thinker


def published_name(name: str) -> str:
    """A thinker's tensor as the published files call it, whatever version of transformers named it."""
    for new, published in RENAMED:
        if name.startswith(new):
            return published + name.removeprefix(new)
    return name


def thinker_config(document: Mapping[str, Any]) -> Qwen2_5OmniThinkerConfig:
    """transformers' config; raises ValueError for a value that it refuses."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import Qwen2_5OmniThinkerConfig

    try:
        return Qwen2_5OmniThinkerConfig.from_dict(copy.deepcopy(dict(document)))
    except (StrictDataclassError, TypeError, KeyError, AttributeError) as err:
        told = " ".join(str(err).split())
        raise ValueError(f"'thinker': {told}") from err
