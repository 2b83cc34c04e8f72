"""The two roles that a family plays: it builds a network from a model folder, and the network looks and writes.

The engine knows families only through these protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from crab_core.types import Box, Clip, Decoding, Medium, Point, Prompt, View

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from crab_core.weights.folder import Header

OnText = Callable[[str], None]
Rerouting = Literal["even", "exchanged"]
MASK_LOGITS = "mask_logits"  # where `Generated.extras` has the mask that was drawn


@dataclass(frozen=True, slots=True)
class Precision:
    """Where and how a network computes: device `cpu` or `cuda:0`, dtype of the activations, quantisation of the LLM.

    `compile` makes the step that writes a token once: see `families.steps`.
    """

    device: str = "cpu"
    dtype: str = "float32"
    quantize: str = "none"
    compile: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """The memory of a device that a model takes, in bytes, by what takes it.

    `masks` is what a masker takes beside it: its weights, and what it remembers of pictures.
    """

    weights: int
    cache: int
    activations: int
    masks: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.activations + self.masks

    def beside(self, masker: Needs) -> Needs:
        """With a masker, which draws when the model has written: the larger of the activations counts."""
        drawn = self.masks + masker.weights + masker.cache
        return Needs(self.weights, self.cache, max(self.activations, masker.activations), drawn)


@dataclass(frozen=True, slots=True)
class Span:
    """Positions [start, end) of the spliced sequence that hold one medium.

    `index` is the frame or the second, `query` the first query of it; text spans have index -1.
    """

    kind: Medium
    start: int
    end: int
    index: int = -1


@dataclass(frozen=True)
class Encoded:
    """A clip as query tokens: for each medium (T, Q, D) rows of the LLM's width.

    For a task that draws masks, `capability` names what the network must have learnt for it, and `layers` are the
    frames' feature maps (N, P, D) at the depths that its mask decoder reads; masks are drawn on the first frame.
    `strangeness` says of a medium how unlike the training's it is, above 1 more than chance explains; a medium of which
    that is not known is absent.
    """

    features: Mapping[Medium, torch.Tensor]
    capability: str = ""
    layers: tuple[torch.Tensor, ...] = ()
    strangeness: Mapping[Medium, float] = field(default_factory=dict)

    def at(self, index: int) -> Encoded:
        """The same with frame `index` as the picture: as medium `image` (1, Q, D), and the one masks are drawn on."""
        if "video" not in self.features:
            return self
        picture: dict[Medium, torch.Tensor] = {"image": self.features["video"][index : index + 1]}
        layers = tuple(layer[index : index + 1] for layer in self.layers)
        return Encoded({**self.features, **picture}, self.capability, layers, self.strangeness)


@dataclass(frozen=True)
class Generated:
    """The text that the network wrote, its token ids, and which positions were what.

    `stopped` says why it ended: `eos` by itself, `length` at the asked number of tokens, `positions` where the network
    has no more.
    """

    text: str
    token_ids: tuple[int, ...]
    spans: tuple[Span, ...] = ()
    prompt_tokens: int = 0
    stopped: str = "eos"
    extras: Mapping[str, object] = field(default_factory=dict)


class Network(Protocol):
    """A loaded model of one family."""

    name: str

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(width, height) in pixels at which frames should be decoded; None for their own size."""

    @property
    def canvas_size(self) -> tuple[int, int]:
        """(width, height) of the picture in whose pixels the network tells boxes."""

    def view(self, task: str, duration_s: float) -> View:
        """The frames and the sound that the network wants for a task on a clip of that length."""

    def encode(self, clip: Clip, task: str) -> Encoded:
        """The clip as query tokens; a medium that the clip lacks is absent from the features."""

    def generate(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """The text that follows the prompt, told piece by piece to `on_text`."""

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        """One text a prompt, several at once; equal to one at a time."""


@runtime_checkable
class RememberingNetwork(Protocol):
    """A network that need not compute again what the questions about a clip have in common."""

    def memory(self) -> Any:
        """An empty memory, for the questions about one clip; only this network can use it."""

    def generate_with(
        self, memory: Any, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """Exactly what `generate` gives; changes the memory."""


class Family(Protocol):
    """Builds networks of one architecture."""

    name: str

    def load(self, folder: Path, precision: Precision) -> Network:
        """The network whose header and weights are in the folder, loaded strictly.

        Raises ModelError if the header is unknown, WeightsMismatch if tensors are lacking or unknown.
        """


@runtime_checkable
class MeasuredFamily(Protocol):
    """A family that can tell from a folder's headers what its model will take."""

    def needs(self, folder: Path, precision: Precision, new_tokens: int) -> Needs:
        """For one clip and an answer of that many tokens; reads no weights. Raises ModelError for a bad folder."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a release of weights leaves open: wording profile, layers that masks are drawn from, position variant."""

    profile: str
    layers: tuple[int, ...]
    positions: str


@runtime_checkable
class OpenFamily(Protocol):
    """A family whose published weights leave something open that samples can decide."""

    def choices(self, network: Network, header: Header) -> tuple[Choice, ...]:
        """Every choice, that of the header first; raises ModelError if the network draws no masks."""

    def choosing(self, network: Network, choice: Choice) -> AbstractContextManager[None]:
        """Within the block the network computes as if that had been chosen."""

    def write_choice(self, folder: Path, choice: Choice) -> Header:
        """Makes it the choice of a model folder. Raises ResourceError if the disk does not take it."""


@runtime_checkable
class MaskNetwork(Protocol):
    """A network that draws masks, which are in `Generated.extras` as `mask_logits` (K, h, w) float32.

    K is 1 for one mask, above 0 inside, else the number of classes with the background as class 0.
    """

    def force(self, encoded: Encoded, prompt: Prompt, answer: str) -> Generated:
        """What `generate` would have given, had the network written this answer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is in a picture, to guide its mask: a box, points that lie on it, or both, in pixels."""

    label: str
    box: Box | None = None
    points: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        if self.box is None and not self.points:
            raise ValueError(f"the place of '{self.label}' has neither a box nor a point")


class Tracker(Protocol):
    """Follows places from one picture to the next, with a memory that does not grow."""

    def start(self, picture: npt.NDArray[np.uint8], places: Sequence[Place]) -> list[npt.NDArray[np.float32]]:
        """Follow these places of a picture (H, W, 3) and nothing else from now on: logits (h, w) of each."""

    def follow(self, picture: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Logits (h, w) of each followed place in the next picture; none if nothing is followed."""


class Masker(Protocol):
    """Draws masks of places in pictures, whoever found them. Logits are of the whole picture, above 0 inside."""

    @property
    def name(self) -> str:
        """What draws, such as `sam2.1-hiera-large`."""

    def draw(self, picture: npt.NDArray[np.uint8], places: Sequence[Place]) -> list[npt.NDArray[np.float32]]:
        """Logits (h, w) of each place in a picture (H, W, 3)."""

    def tracker(self) -> Tracker:
        """One that follows places; raises UsageError if the masker cannot."""


@runtime_checkable
class MeasuredMasker(Protocol):
    """A masker that can tell from its files' headers what it will take."""

    def needs(self, precision: Precision) -> Needs:
        """For a few things followed through a clip; reads no weights. Raises ModelError for a bad folder."""


@runtime_checkable
class SharingNetwork(Protocol):
    """A network whose encodings serve several tasks."""

    def sight(self, task: str) -> str:
        """Tasks of the same name share encodings of the same view; raises ModelError if it cannot do the task."""

    def for_text(self, encoded: Encoded) -> Encoded:
        """What a task of sight "" would have encoded, of an encoding of any sight."""


@dataclass(frozen=True)
class Routes:
    """How much each head took part, of R routers at T positions: every share is a mean of routing weights, sum 1.

    `routers` names them, such as `model.layers.0.self_attn.q_proj`. Positions are those of the prompt and of the
    written tokens that were read again; the last written one is read by nobody. `shares` (T, H) is each position's mean
    over routers, `by_kind` (R, K, H) each router's mean over the `counts` (K,) positions of each of `kinds`, and
    `entropy_bits` (R, K) how undecided it was there; NaN where a kind does not occur. `weights` (R, T, H) is all that
    was said, None unless it was asked for.
    """

    routers: tuple[str, ...]
    shares: npt.NDArray[np.float32]
    kinds: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    by_kind: npt.NDArray[np.float32]
    entropy_bits: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32] | None = None

    def mean(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The mean over all positions, of values (R, K, ...) by kind of position: (R, ...)."""
        found = self.counts > 0
        parts = (self.counts[found] / self.counts.sum()).astype(values.dtype)
        return (values[:, found].swapaxes(1, -1) * parts).sum(-1)


@dataclass(frozen=True)
class HeadsAlike:
    """How alike the update matrices of each pair of heads are, as `nn/ilora/similarity.py` measures it.

    `cosine` and `cka` (R, P) and `angles_deg` (R, P, r) of R adapted layers and P pairs, NaN where a matrix is zero;
    `chance_cka` (R,) and `chance_angles_deg` (R, r) are those of two random matrices of the same shape.
    """

    routers: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    cosine: npt.NDArray[np.float32]
    cka: npt.NDArray[np.float32]
    angles_deg: npt.NDArray[np.float32]
    chance_cka: npt.NDArray[np.float32]
    chance_angles_deg: npt.NDArray[np.float32]


class HeadsView(Protocol):
    """The inside of a network whose linear layers have several LoRA heads."""

    @property
    def heads(self) -> int:
        """How many heads share each adapted layer."""

    def spans(self, encoded: Encoded, prompt: Prompt) -> tuple[Span, ...]:
        """What each position of the prompt holds, as `Generated.spans` has it."""

    def routes(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, kinds: Sequence[str] = (), *, raw: bool = False
    ) -> tuple[Generated, Routes]:
        """What `generate` gives, unchanged, and what the routers said meanwhile, added up by kind of position.

        `kinds` are those of the prompt's positions in order; what comes after them is `written`. `raw` keeps every
        weight as well.
        """

    def fresh_routes(
        self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int], kinds: Sequence[str], seed: int
    ) -> Routes:
        """What routers at the random start of that seed would say to the inputs that the network's own routers had."""

    def alike(self) -> HeadsAlike:
        """How alike the heads' matrices are: of the model, whatever it is asked."""

    def gaze(self, clip: Clip, task: str) -> Mapping[Medium, npt.NDArray[np.float32]]:
        """Where each query looks: (T, Q, rows, columns) a medium, each query's sum 1.

        Rows of a picture go down, rows of a sound go from low to high frequency, columns of a sound go on in time.
        """

    def relevance(
        self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int], targets: Sequence[int], method: str
    ) -> npt.NDArray[np.float32]:
        """How much each position (prompt, then written tokens) mattered to the targets, indices into `token_ids`.

        `method` is `attention` or `gradient`; not negative, of any scale.
        """

    def log_probability(self, encoded: Encoded, prompt: Prompt, token_ids: Sequence[int]) -> float:
        """The natural logarithm of the probability that the network writes exactly these tokens."""

    def only(self, kept: Iterable[int]) -> AbstractContextManager[None]:
        """Within the block only these heads update, with the weights that the routers gave them."""

    def rerouted(self, change: Rerouting) -> AbstractContextManager[None]:
        """Within the block all heads count alike (`even`), or each gets the share of the one before (`exchanged`)."""

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """The text of each token; joined they are the text of all."""

    def ids_of(self, text: str) -> list[int]:
        """The tokens that the network would write for a text, its end included."""

    def prompt_pieces(self, prompt: Prompt) -> list[str]:
        """The text of each token of the prompt, without the places of media."""


@runtime_checkable
class HeadsNetwork(Protocol):
    """A network that can be looked into."""

    def inside(self) -> HeadsView:
        """The heads; raises ModelError if the network has none."""
