"""Looking into a network of the Crab family: what its routers say, where its queries look, what its answer hangs on.

Nothing in the model is edited: forward hooks read while it runs, and head masks are lifted when a block ends.
Source: Crab (arXiv 2503.13068, section 4.4) shows mean routing weights; relevance and the way from a query back to
patches are ours. Letters: R routers, T positions, H heads, L prompt positions, n written tokens, Q queries, P patches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from crab_core.errors import ModelError, UsageError
from crab_core.families._base import Encoded, Generated, HeadsAlike, OnText, Routes
from crab_core.families.crab_text import UNFINISHED
from crab_core.nn import ilora
from crab_core.nn.qformer import watch_cross_attention
from crab_core.nn.splice import Row, Splicer
from crab_core.types import Clip, Decoding, Medium, Prompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families.crab_network import CrabNetwork

METHODS = ("attention", "gradient")
BANDS: Mapping[str, int] = {"beats": 8, "conv": 1}  # tokens that an audio encoder gives for one moment, low bands first


@dataclass(frozen=True)
class CrabHeads:
    """Implements `families._base.HeadsView`."""

    network: CrabNetwork
    heads: int

    @classmethod
    def of(cls, network: CrabNetwork) -> CrabHeads:
        """The heads of a network; raises ModelError if it has no I-LoRA."""
        config = network.model.config.ilora
        if config is None:
            raise ModelError(
                f"model '{network.name}' has no I-LoRA, so there are no heads to look at",
                hint="Choose a model with heads: crab models list",
            )
        return cls(network, config.heads)

    def routes(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> tuple[Generated, Routes]:
        """What `generate` gives, and the routing weights of every position that was read, collected meanwhile."""
        with ilora.capture(self.network.model.llm) as collected:
            generated = self.network.generate(encoded, prompt, decoding, on_text)
        read = generated.prompt_tokens + len(generated.token_ids)
        weights = [torch.cat(calls, dim=1)[0, :read].float().cpu() for calls in collected.values()]  # (T, H) each
        return generated, Routes(tuple(collected), torch.stack(weights).numpy())

    def alike(self) -> HeadsAlike:
        """Of each adapted layer, by its router's name."""
        layers = ilora.named_layers(self.network.model.llm)
        found = [ilora.alikeness(layer.ilora_B[name].weight, self.heads) for layer, name in layers.values()]
        by_chance = [ilora.chance(layer.out_features, layer.rank[name]) for layer, name in layers.values()]
        return HeadsAlike(
            tuple(layers),
            tuple(ilora.pairs_of(self.heads)),
            torch.stack([one.cka for one in found]).float().numpy(),
            torch.stack([one.angles_deg for one in found]).float().numpy(),
            np.array([cka for cka, _ in by_chance], np.float32),
            np.array([angles for _, angles in by_chance], np.float32),
        )

    def gaze(self, clip: Clip, task: str) -> Mapping[Medium, npt.NDArray[np.float32]]:
        """Cross-attention of the Q-Formers, mean over their attention heads and layers: (T, Q, rows, columns)."""
        model = self.network.model
        with ExitStack() as stack:
            video = stack.enter_context(watch_cross_attention(model.vl_projector))
            audio = stack.enter_context(watch_cross_attention(model.al_projector))
            self.network.encode(clip, task)
        found: dict[Medium, npt.NDArray[np.float32]] = {}
        if video:
            maps = _mean(video)  # (N, Q, P)
            side = round(maps.shape[-1] ** 0.5)
            found["video"] = maps.reshape(*maps.shape[:2], side, side)
        if audio:
            maps = _mean(audio)  # (S, Q, P)
            bands = BANDS[model.config.audio.kind]
            found["audio"] = maps.reshape(*maps.shape[:2], -1, bands).swapaxes(-1, -2)
        return found

    def relevance(
        self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int], targets: Sequence[int], method: str
    ) -> npt.NDArray[np.float32]:
        """(L + n,): the attention that predicting the targets paid, or |gradient x input| of their log-probability.

        Raises UsageError for an unknown method.
        """
        if method not in METHODS:
            raise UsageError(f"no relevance is called '{method}'", hint=f"Choose one of: {', '.join(METHODS)}.")
        found = self._attended if method == "attention" else self._gradient
        with self.network.model.using(encoded.capability):
            embeds, length = self._embeds(encoded, prompt, token_ids)
            return found(embeds, length, token_ids, targets).float().cpu().numpy()

    @torch.inference_mode()
    def log_probability(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> float:
        """The sum over the tokens, each given those before it."""
        if not token_ids:
            return 0.0
        with self.network.model.using(encoded.capability):
            embeds, _ = self._embeds(encoded, prompt, token_ids)
            return float(self._log_probabilities(embeds, token_ids).sum())

    def only(self, kept: Iterable[int]) -> AbstractContextManager[None]:
        """Within the block only these heads update; with none of them the language model is what it was before."""
        return ilora.heads(self.network.model.llm, keep=list(kept))

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token; one that ends a character begun before has all of it."""
        return _pieces(list(token_ids), self.network.chat.decode)

    def ids_of(self, text: str) -> list[int]:
        """The tokens of a text as an answer, its end included."""
        return self.network.chat.target_ids(text)

    def prompt_pieces(self, prompt: Prompt) -> list[str]:
        """The text of each token of the chat template, special ones by their name, media left out."""
        chat = self.network.chat
        ids = [token for token in chat.prompt_ids(prompt) if token not in chat.placeholders]
        return _pieces(ids, lambda some: str(chat.tokenizer.decode(some, clean_up_tokenization_spaces=False)))

    def _embeds(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> tuple[torch.Tensor, int]:
        """The prompt and what was written as (1, L + n, W), and L."""
        chat, embed = self.network.chat, self.network.model.llm.get_input_embeddings()
        ids = chat.prompt_ids(prompt)
        splicer = Splicer(chat.placeholders, chat.pad_id, chat.mask_ids)
        with torch.no_grad():
            spliced = splicer([Row(ids, len(ids), encoded.features)], embed).embeds
            written = embed(torch.tensor(list(token_ids), dtype=torch.long, device=spliced.device))
            return torch.cat([spliced, written[None]], dim=1), spliced.shape[1]

    def _log_probabilities(self, embeds: torch.Tensor, token_ids: Sequence[int]) -> torch.Tensor:
        """(n,): of each written token, given all before it."""
        count = len(token_ids)
        logits = self.network.model.llm(inputs_embeds=embeds, logits_to_keep=count + 1, use_cache=False).logits
        chosen = torch.tensor(list(token_ids), device=logits.device)[:, None]
        return F.log_softmax(logits[0, :-1].float(), dim=-1).gather(1, chosen)[:, 0]

    def _gradient(
        self, embeds: torch.Tensor, length: int, token_ids: Sequence[int], targets: Sequence[int]
    ) -> torch.Tensor:
        leaf = embeds.clone().requires_grad_()
        with torch.enable_grad():
            log_probability = self._log_probabilities(leaf, token_ids)[list(targets)].sum()
            (gradient,) = torch.autograd.grad(log_probability, leaf)
        return (gradient * leaf.detach()).sum(-1).abs()[0]

    @torch.inference_mode()
    def _attended(
        self, embeds: torch.Tensor, length: int, token_ids: Sequence[int], targets: Sequence[int]
    ) -> torch.Tensor:
        """A token is predicted one position before it stands; only those rows of the attention are kept."""
        rows = [length + target - 1 for target in targets]
        with _watched_attention(self.network.model.llm, rows) as paid:
            self.network.model.llm(inputs_embeds=embeds, logits_to_keep=1, use_cache=False)
        return torch.stack(paid).mean(0)


def _pieces(ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
    """What each token adds to the text: alone, many a token would lose the blank before it."""
    texts = [decode(ids[:end]).rstrip(UNFINISHED) for end in range(len(ids))] + [decode(ids)]
    return [after[len(before) :] for before, after in pairwise(texts)]


@contextmanager
def _watched_attention(llm: torch.nn.Module, rows: Sequence[int]) -> Iterator[list[torch.Tensor]]:
    """Within the block the LLM computes attention eagerly; each layer appends (T,), the mean over heads and rows."""
    paid: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        paid.append(output[1][0, :, list(rows)].float().mean((0, 1)))  # (heads, rows, T) -> (T,)

    usual = llm.config._attn_implementation  # transformers has a public setter and no getter
    hooks = [layer.self_attn.register_forward_hook(keep) for layer in llm.model.layers]
    llm.set_attn_implementation("eager")
    try:
        yield paid
    finally:
        llm.set_attn_implementation(usual)
        for hook in hooks:
            hook.remove()


def _mean(layers: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
    """(N, heads, Q, P) a layer as (N, Q, P)."""
    mean: npt.NDArray[np.float32] = torch.stack(list(layers)).float().mean((0, 2)).cpu().numpy()
    return mean
