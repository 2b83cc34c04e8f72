"""The Crab network: two frozen encoders, two projectors and a decoder LLM with interaction-aware LoRA.

    frames  (N, 3, H, W) -> visual encoder -> (N, P, D) -> VL projector -> (N, Q, W)  \
                                                                                       splice -> LLM
    sound   (S, L, 128)  -> audio encoder  -> (S, n, D) -> AL projector -> (S, Q, W)  /

Source: Crab (arXiv 2503.13068, section 3.2). Differs: encoders are chosen by the config, and a network may learn an
embedding of the second that is added to the encoder's tokens (`time_tags`).
Letters: N frames, S seconds of sound, P and n encoder tokens, Q queries, D encoder width, W width of the LLM.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from crab_core.nn.capability import Capability, MaskConfig
from crab_core.nn.crab_config import CrabConfig, ILoraConfig
from crab_core.nn.qformer import Projector
from crab_core.nn.stored import StoredModule

if TYPE_CHECKING:
    from transformers import Cache, LlamaConfig

# encoders by kind; imported when a network asks for one
VISUAL_ENCODERS: Mapping[str, str] = {
    "conv": "crab_core.nn.conv_encoders:ConvVisualEncoder",
    "clip": "crab_core.nn.clip:ClipVisualEncoder",
}
AUDIO_ENCODERS: Mapping[str, str] = {
    "conv": "crab_core.nn.conv_encoders:ConvAudioEncoder",
    "beats": "crab_core.nn.beats:Beats",
}
LLM_OLD_KEYS = ("rope_theta", "rope_scaling", "torch_dtype", "model_type")  # which transformers still reads
TAG_STD = 0.02
UNBUILDABLE = (ValueError, TypeError, ArithmeticError, RuntimeError, KeyError)  # of numbers that make no network


class CrabModel(StoredModule):
    """The network that a config describes, with random weights.

    Attributes: `visual_encoder`, `audio_encoder`, `vl_projector`, `al_projector`, `llm` (LlamaForCausalLM), and
    `video_tags`, `audio_tags` (embeddings of the second) where the config has time tags, and `capabilities` (by name,
    what was learnt apart for masks).
    """

    def __init__(self, config: CrabConfig) -> None:
        super().__init__()
        from transformers import LlamaForCausalLM

        self.config = dataclasses.replace(config, ilora=None)
        self.visual_encoder = _encoder(VISUAL_ENCODERS, config.visual.kind)(**config.visual.options)
        self.audio_encoder = _encoder(AUDIO_ENCODERS, config.audio.kind)(**config.audio.options)
        self.vl_projector = Projector(config.vl)
        self.al_projector = Projector(config.al)
        self.video_tags = _tags(config.time_tags, config.vl.encoder_width)
        self.audio_tags = _tags(config.time_tags, config.al.encoder_width)
        self.llm = LlamaForCausalLM(_llm_config(config.llm))
        self.capabilities = _capabilities(config.mask, self.llm.config.vocab_size)
        if config.ilora is not None:
            self.add_ilora(config.ilora)

    def add_ilora(self, ilora: ILoraConfig) -> None:
        """Wraps the LLM's linears; the network computes the same until the adapter has learnt something."""
        from crab_core.nn.ilora import inject

        inject(
            self.llm,
            heads=ilora.heads,
            rank=ilora.rank,
            alpha=ilora.alpha,
            dropout=ilora.dropout,
            per_head_dropout=ilora.per_head_dropout,
            targets=ilora.targets,
        )
        self.take_ilora(ilora)

    def take_ilora(self, ilora: ILoraConfig) -> None:
        """Says in the config what the adapter is."""
        self.config = dataclasses.replace(self.config, ilora=ilora)

    def see(self, frames: torch.Tensor, seconds: torch.Tensor | None = None) -> torch.Tensor:
        """The query tokens (N, Q, W) of frames (N, 3, H, W); `seconds` (N,) are counted from 0 if not given."""
        return self.project_video(self.visual_encoder(frames)[-1], seconds)

    def project_video(self, tokens: torch.Tensor, seconds: torch.Tensor | None = None) -> torch.Tensor:
        """What `see` gives, of what the visual encoder gave for the frames (N, P, D)."""
        return self.vl_projector(self.tag_video(tokens, seconds))

    def mask_layers(self, states: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Of the visual encoder's layers (N, P, D) those that the mask decoder reads, in its order."""
        assert self.config.mask is not None
        shown = list(self.visual_encoder.layers)
        return tuple(states[shown.index(layer)] for layer in self.config.mask.layers)

    def using(self, capability: str) -> AbstractContextManager[None]:
        """Within the block the LLM has the tables of a capability; the name of none is empty."""
        return self.capabilities[capability].inside(self.llm) if capability else nullcontext()

    def hear(self, banks: torch.Tensor, seconds: torch.Tensor | None = None) -> torch.Tensor:
        """The query tokens (S, Q, W) of filter banks (S, L, 128); `seconds` (S,) are counted from 0 if not given."""
        return self.al_projector(self.tag_audio(self.audio_encoder(banks), seconds))

    def tag_video(self, tokens: torch.Tensor, seconds: torch.Tensor | None = None) -> torch.Tensor:
        """Encoder tokens (N, P, D) with the embedding of their second (N,) added; as they are without time tags."""
        return _tagged(tokens, self.video_tags, seconds)

    def tag_audio(self, tokens: torch.Tensor, seconds: torch.Tensor | None = None) -> torch.Tensor:
        """Encoder tokens (S, n, D) with the embedding of their second (S,) added; as they are without time tags."""
        return _tagged(tokens, self.audio_tags, seconds)

    @property
    def text(self) -> nn.Module:
        """The LLM without its output layer."""
        return self.llm.model

    @property
    def embed(self) -> nn.Module:
        """Ids to embeddings."""
        return self.llm.get_input_embeddings()

    def read(
        self,
        embeds: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """The states (B, L, W) after the last norm, of embeddings (B, L, W) at positions (1, B, L)."""
        return self.text(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids[0],
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(..., vocabulary) of states (..., W)."""
        return self.llm.get_output_embeddings()(states)

    def decoder(self) -> tuple[str, nn.Module]:
        """The LLM."""
        return "llm", self.llm

    def tied(self) -> tuple[str, ...]:
        """The output layer, if the LLM has it tied to its embeddings."""
        return ("llm.lm_head.weight",) if self.llm.config.tie_word_embeddings else ()

    def tie(self) -> None:
        """Makes the LLM's tied tables one."""
        self.llm.tie_weights()


def _llm_config(options: Mapping[str, Any]) -> LlamaConfig:
    """transformers' config; raises ValueError for a key or a value that it does not know."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import LlamaConfig

    known = [*LLM_OLD_KEYS, *(field.name for field in dataclasses.fields(LlamaConfig))]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f": did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"'llm' has the unknown key '{name}'{hint}")
    try:
        return LlamaConfig(**options)
    except StrictDataclassError as err:
        raise ValueError(f"'llm': {' '.join(str(err).split())}") from err


def _capabilities(mask: MaskConfig | None, vocabulary: int) -> nn.ModuleDict:
    if mask is None:
        return nn.ModuleDict()
    return nn.ModuleDict({name: Capability(name, vocabulary, mask.decoder) for name in mask.capabilities})


def _encoder(table: Mapping[str, str], kind: str) -> type[nn.Module]:
    if kind not in table:
        raise ValueError(f"no encoder is called '{kind}', there are {', '.join(sorted(table))}")
    module, _, name = table[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def _tags(count: int, width: int) -> nn.Embedding | None:
    """Embeddings of the second, small at first so that they do not drown what is seen."""
    if count == 0:
        return None
    tags = nn.Embedding(count, width)
    nn.init.normal_(tags.weight, std=TAG_STD)
    return tags


def _tagged(tokens: torch.Tensor, tags: nn.Embedding | None, seconds: torch.Tensor | None) -> torch.Tensor:
    """Seconds beyond the last tag share it."""
    if tags is None:
        return tokens
    if seconds is None:
        seconds = torch.arange(len(tokens), device=tokens.device)
    return tokens + tags(seconds.clamp_max(tags.num_embeddings - 1))[:, None].to(tokens.dtype)
