"""Looking into a language model with I-LoRA, whatever sees and hears for it: routes, relevance, log-probabilities.

Nothing in the model is edited: forward hooks read while it runs, and head masks are lifted when a block ends.
Source: Crab (arXiv 2503.13068, section 4.4) shows mean routing weights; relevance is ours.
Letters: T positions, H heads, L prompt positions, n written tokens, W width of the decoder.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from crab_core.errors import ModelError, UsageError
from crab_core.families._base import Encoded, Generated, HeadsAlike, OnText, Rerouting, Routes, Span
from crab_core.families.crab_text import UNFINISHED, Decodes
from crab_core.nn import ilora
from crab_core.nn.splice import Row, Splicer
from crab_core.types import Decoding, Medium, Prompt

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.nn.crab_config import ILoraConfig

METHODS = ("attention", "gradient")
WRITTEN = "written"  # the kind of all positions behind the prompt
REROUTED: Mapping[Rerouting, ilora.RouteChange] = {
    "even": ilora.EvenShares(),
    "exchanged": ilora.ExchangedShares(),
}


@dataclass(frozen=True)
class Asked:
    """A prompt with what was written after it: embeddings (1, L + n, W), L, and positions (3, 1, L + n) if they are
    more than the order."""

    embeds: torch.Tensor
    length: int
    stands: torch.Tensor | None = None


class Spells(Decodes, Protocol):
    """A chat as far as heads need it."""

    @property
    def placeholders(self) -> dict[int, Medium]:
        """Which ids stand for media."""

    @property
    def pad_id(self) -> int:
        """The id that pads a row."""

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt in the chat as ids."""

    def target_ids(self, text: str) -> list[int]:
        """The ids that a model should write: the text and the end."""

    def spelled(self, ids: list[int]) -> str:
        """The text of ids with special tokens by their names."""


class Looked(Protocol):
    """A network as far as heads need it."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def chat(self) -> Spells:
        """How it reads and writes text."""

    @property
    def ilora(self) -> ILoraConfig | None:
        """What its adapter is."""

    def generate(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """The text that follows the prompt."""


@dataclass(frozen=True)
class DecoderHeads(ABC):
    """What `families._base.HeadsView` asks of a language model; subclasses say how it is reached and what is seen."""

    network: Looked
    heads: int

    @classmethod
    def of(cls, network: Looked) -> Self:
        """The heads of a network; raises ModelError if it has no I-LoRA."""
        if network.ilora is None:
            raise ModelError(
                f"model '{network.name}' has no I-LoRA, so there are no heads to look at",
                hint="Choose a model with heads: crab models list",
            )
        return cls(network, network.ilora.heads)

    @property
    @abstractmethod
    def decoder(self) -> nn.Module:
        """transformers' model that has `layers`, with the adapters in it."""

    @abstractmethod
    def asked(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> Asked:
        """The prompt and what was written."""

    @abstractmethod
    def logits(self, asked: Asked, embeds: torch.Tensor, kept: int) -> torch.Tensor:
        """(1, kept, V): those of the last `kept` positions, of embeddings in the place of those asked."""

    def using(self, encoded: Encoded) -> AbstractContextManager[None]:
        """Within the block the network is as it was when that was asked."""
        return nullcontext()

    def router_name(self, name: str) -> str:
        """The name of a router as seen from the whole language model, which is how published adapters name it."""
        return f"model.{name}"

    def routes(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, kinds: Sequence[str] = (), *, raw: bool = False
    ) -> tuple[Generated, Routes]:
        """What `generate` gives, and the routing weights of every position that was read, added up meanwhile."""
        names = _names(kinds)
        groups = [names.index(kind) for kind in kinds]
        with ExitStack() as stack:
            tally = stack.enter_context(ilora.tallied(self.decoder, groups, len(names)))
            every = stack.enter_context(ilora.capture(self.decoder)) if raw else {}
            generated = self.network.generate(encoded, prompt, decoding)
        routes, read = self._routes(tally, names), generated.prompt_tokens + len(generated.token_ids)
        weights = [torch.cat(calls, dim=1)[0, :read].float().cpu() for calls in every.values()]  # (T, H) each
        routes = replace(routes, shares=routes.shares[:read])
        return generated, replace(routes, weights=torch.stack(weights).numpy()) if raw else routes

    def fresh_routes(
        self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int], kinds: Sequence[str], seed: int
    ) -> Routes:
        """The text is read once more, with the routers that it was written with; others only listen."""
        names = _names(kinds)
        groups = [names.index(kind) for kind in kinds]
        with torch.inference_mode(), self.using(encoded):
            asked = self.asked(encoded, prompt, token_ids[:-1])
            with ilora.tallied(self.decoder, groups, len(names), fresh=seed) as tally:
                self.logits(asked, asked.embeds, 1)
        return self._routes(tally, names)

    def _routes(self, tally: ilora.Tally, kinds: Sequence[str]) -> Routes:
        return Routes(
            routers=tuple(map(self.router_name, tally.names)),
            shares=tally.shares().cpu().numpy(),
            kinds=tuple(kinds),
            counts=tally.counts().numpy(),
            by_kind=tally.by_group().numpy(),
            entropy_bits=tally.entropies_bits().numpy(),
        )

    def spans(self, encoded: Encoded, prompt: Prompt) -> tuple[Span, ...]:
        """What each position of the prompt holds."""
        chat = self.network.chat
        ids = chat.prompt_ids(prompt)
        found = Splicer(chat.placeholders, chat.pad_id).stretches(Row(ids, len(ids), encoded.features))
        return tuple(Span(one.kind, one.start, one.end, one.index) for one in found)

    def alike(self) -> HeadsAlike:
        """Of each adapted layer, by its router's name."""
        layers = ilora.named_layers(self.decoder)
        found = [ilora.alikeness(layer.ilora_B[name].weight, self.heads) for layer, name in layers.values()]
        by_chance = [ilora.chance(layer.out_features, layer.rank[name]) for layer, name in layers.values()]
        return HeadsAlike(
            tuple(map(self.router_name, layers)),
            tuple(ilora.pairs_of(self.heads)),
            torch.stack([one.cosine for one in found]).float().cpu().numpy(),
            torch.stack([one.cka for one in found]).float().cpu().numpy(),
            torch.stack([one.angles_deg for one in found]).float().cpu().numpy(),
            np.array([cka for cka, _ in by_chance], np.float32),
            np.array([angles for _, angles in by_chance], np.float32),
        )

    def relevance(
        self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int], targets: Sequence[int], method: str
    ) -> npt.NDArray[np.float32]:
        """(L + n,): the attention that predicting the targets paid, or |gradient x input| of their log-probability.

        Raises UsageError for an unknown method.
        """
        if method not in METHODS:
            raise UsageError(f"no relevance is called '{method}'", hint=f"Choose one of: {', '.join(METHODS)}.")
        found = self._attended if method == "attention" else self._gradient
        with self.using(encoded):
            return found(self.asked(encoded, prompt, token_ids), token_ids, targets).float().cpu().numpy()

    @torch.inference_mode()
    def log_probability(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> float:
        """The sum over the tokens, each given those before it."""
        if not token_ids:
            return 0.0
        with self.using(encoded):
            asked = self.asked(encoded, prompt, token_ids)
            return float(self._log_probabilities(asked, asked.embeds, token_ids).sum())

    def only(self, kept: Iterable[int]) -> AbstractContextManager[None]:
        """Within the block only these heads update; with none of them the language model is what it was before."""
        return ilora.heads(self.decoder, keep=list(kept))

    def rerouted(self, change: Rerouting) -> AbstractContextManager[None]:
        """Within the block the routers' shares are even, or given to the next head each."""
        return ilora.rerouted(self.decoder, REROUTED[change])

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token; one that ends a character begun before has all of it."""
        return pieces_of(list(token_ids), self.network.chat.decode)

    def ids_of(self, text: str) -> list[int]:
        """The tokens of a text as an answer, its end included."""
        return self.network.chat.target_ids(text)

    def prompt_pieces(self, prompt: Prompt) -> list[str]:
        """The text of each token of the chat, special ones by their name, media left out."""
        chat = self.network.chat
        return pieces_of([token for token in chat.prompt_ids(prompt) if token not in chat.placeholders], chat.spelled)

    def _log_probabilities(self, asked: Asked, embeds: torch.Tensor, token_ids: Sequence[int]) -> torch.Tensor:
        """(n,): of each written token, given all before it."""
        logits = self.logits(asked, embeds, len(token_ids) + 1)
        chosen = torch.tensor(list(token_ids), device=logits.device)[:, None]
        return F.log_softmax(logits[0, :-1].float(), dim=-1).gather(1, chosen)[:, 0]

    def _gradient(self, asked: Asked, token_ids: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        leaf = asked.embeds.clone().requires_grad_()
        with torch.enable_grad():
            log_probability = self._log_probabilities(asked, leaf, token_ids)[list(targets)].sum()
            (gradient,) = torch.autograd.grad(log_probability, leaf)
        return (gradient * leaf.detach()).sum(-1).abs()[0]

    @torch.inference_mode()
    def _attended(self, asked: Asked, token_ids: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        """A token is predicted one position before it stands; only those rows of the attention are kept."""
        rows = [asked.length + target - 1 for target in targets]
        with _watched_attention(self.decoder, rows) as paid:
            self.logits(asked, asked.embeds, 1)
        return torch.stack(paid).mean(0)


def _names(kinds: Sequence[str]) -> list[str]:
    """Each kind once, and at last that of all positions behind the prompt."""
    return [*(kind for kind in dict.fromkeys(kinds) if kind != WRITTEN), WRITTEN]


def pieces_of(ids: list[int], decode: Callable[[list[int]], str]) -> list[str]:
    """What each token adds to the text: alone, many a token would lose the blank before it."""
    texts = [decode(ids[:end]).rstrip(UNFINISHED) for end in range(len(ids))] + [decode(ids)]
    return [after[len(before) :] for before, after in pairwise(texts)]


@contextmanager
def _watched_attention(decoder: nn.Module, rows: Sequence[int]) -> Iterator[list[torch.Tensor]]:
    """Within the block attention is computed eagerly; each layer appends (T,), the mean over heads and rows."""
    paid: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: tuple[torch.Tensor, torch.Tensor]) -> None:
        paid.append(output[1][0, :, list(rows)].float().mean((0, 1)))  # (heads, rows, T) -> (T,)

    usual = decoder.config._attn_implementation  # transformers has a public setter and no getter
    hooks = [layer.self_attn.register_forward_hook(keep) for layer in decoder.layers]
    decoder.set_attn_implementation("eager")
    try:
        yield paid
    finally:
        decoder.set_attn_implementation(usual)
        for hook in hooks:
            hook.remove()
