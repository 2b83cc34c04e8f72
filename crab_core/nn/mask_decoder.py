"""The mask decoder: what the LLM said of an object, and the picture at two depths, become the object's mask.

    states   (B, T, W)      of the mask tokens, T = levels x tokens -> one prompt (B, C) a level
    features [(B, P, D)] a level, from CLIP                         -> neck (B, C, h, w)
    level 0: queries, prompt, picture          -> logits (B, K, 2h, 2w)
    level 1: the same on a picture twice as large that level 0 has weighed -> logits (B, K, 4h, 4w)
    mean of both at `middle_px`, enlarged      -> (B, K, out_px, out_px)

Source: Crab (arXiv 2503.13068, section 3.3 and appendix); its parts are Segment Anything's (arXiv 2304.02643).
Differs: all pictures of a batch at once. Only the last layer of the published query generator reaches its output, so
only that one is built. Kept for parity with the published weights: tokens and levels are averaged with equal weights.
Parity: tests/parity/test_parity_mask_decoder.py.
Letters: B pictures, T mask tokens, W width of the LLM, D of CLIP, C of the decoder, Q queries, P places, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from crab_core.nn.limits import DEEPEST, WIDEST, check_limits
from crab_core.nn.two_way import TwoWayTransformer

Kind = Literal["binary", "semantic"]
LEVELS = 2
LIMITS = {
    "width": WIDEST,
    "feature_width": WIDEST,
    "state_width": WIDEST,
    "queries": WIDEST,
    "tokens": 1024,
    "heads": 1024,
    "ffn": 1 << 20,
    "layers": DEEPEST,
    "classes": WIDEST,
    "middle_px": 4096,
    "out_px": 8192,
}
UPSCALED_SHARE = 8  # the upscaled picture has an eighth of the width
NORM_EPS = 1e-6  # of norms over channels, Segment Anything's


@dataclass(frozen=True, slots=True)
class MaskDecoderConfig:
    """Numbers of a mask decoder; the defaults are the published ones.

    `feature_width` is CLIP's, `state_width` the LLM's, `tokens` how many mask tokens tell one level, `classes` those
    of semantic masks; `middle_px` is the side at which levels are averaged, `out_px` the side of a mask.
    """

    width: int = 256
    feature_width: int = 1024
    state_width: int = 4096
    queries: int = 300
    tokens: int = 3
    heads: int = 8
    ffn: int = 2048
    layers: int = 2
    classes: int = 71
    middle_px: int = 112
    out_px: int = 224

    def __post_init__(self) -> None:
        numbers = (self.feature_width, self.state_width, self.queries, self.tokens, self.ffn, self.layers)
        if min(*numbers, self.classes, self.middle_px, self.out_px, self.heads) < 1:
            raise ValueError(f"every number of a mask decoder must be at least 1, got {self}")
        check_limits("mask.decoder", {name: getattr(self, name) for name in LIMITS}, LIMITS)
        if self.width < 1 or self.width % (2 * self.heads) or self.width % UPSCALED_SHARE:
            raise ValueError(f"width must be a multiple of {UPSCALED_SHARE} and of twice the heads, got {self.width}")


class MaskDecoder(nn.Module):
    """See the file's head. `Kind` chooses the last layer: one mask, or one map a class."""

    def __init__(self, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.config = config
        width, state = config.width, config.state_width
        self.embed = nn.Sequential(nn.Linear(state, state), nn.ReLU(), nn.Linear(state, width))
        self.neck = nn.Sequential(
            nn.Conv2d(config.feature_width, width, 1, bias=False),
            ChannelNorm(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            ChannelNorm(width),
        )
        self.no_mask = nn.Parameter(torch.zeros(1, width))
        self.queries = nn.Parameter(torch.randn(config.queries, width))
        self.level_embed = nn.Parameter(torch.randn(LEVELS, width))
        self.query_layer = QueryLayer(width, config.heads, config.ffn)
        self.positions = nn.ModuleList([FourierPositions(width) for _ in range(LEVELS)])
        self.two_way = nn.ModuleList(
            [TwoWayTransformer(width, config.heads, config.ffn, config.layers) for _ in range(LEVELS)]
        )
        self.enlarge = nn.Sequential(nn.ConvTranspose2d(width, width, 2, stride=2), ChannelNorm(width), nn.GELU())
        narrow = width // UPSCALED_SHARE
        self.upscale = nn.Sequential(nn.ConvTranspose2d(width, narrow, 2, stride=2), ChannelNorm(narrow), nn.GELU())
        self.kernels = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, narrow)])
        self.mix = nn.ModuleList([nn.Conv2d(config.queries, width, 1), nn.Conv2d(width, width, 1)])
        self.mix.append(nn.Conv2d(width, narrow, 1))
        self.binary = nn.Conv2d(narrow, 1, 1, bias=False)
        self.semantic = nn.Conv2d(narrow, config.classes, 1, bias=False)

    def forward(
        self,
        states: torch.Tensor,
        features: Sequence[torch.Tensor],
        kind: Kind = "binary",
        pictures: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """States (B, T, W) and one feature map (R, P, D) a level -> logits (B, K, out_px, out_px) in float32.

        `pictures` (B,) says which of the R feature maps each row is about; without it there are as many as rows.
        Without gradients, float32 is computed in double precision: the published weights lose 2e-5 of the logits to
        rounding, and one mask an answer is cheap.
        """
        if states.dtype == torch.float32 and not torch.is_grad_enabled():
            precise = {name: tensor.double() for name, tensor in self.state_dict().items()}
            given = (states.double(), [feature.double() for feature in features], kind, pictures)
            return functional_call(self, precise, given)
        prompts = self.embed(states).unflatten(1, (LEVELS, -1)).mean(2)  # (B, LEVELS, C)
        logits: torch.Tensor | None = None
        sizes = []
        for level in range(LEVELS):
            picture = self.neck(_square(features[level]))
            if pictures is not None:
                picture = picture[pictures]
            logits = self._level(level, prompts[:, level : level + 1], picture, logits, kind)
            sizes.append(_resized(logits.float(), self.config.middle_px))
        return _resized(torch.stack(sizes).mean(0), self.config.out_px)

    def _level(
        self, level: int, prompt: torch.Tensor, picture: torch.Tensor, before: torch.Tensor | None, kind: Kind
    ) -> torch.Tensor:
        """Prompt (B, 1, C), picture (B, C, h, w), the logits of the level before -> logits (B, K, 2h', 2w')."""
        queries = self.query_layer(self.queries.expand(len(prompt), -1, -1), prompt)
        tokens = queries + self.level_embed[level]  # (B, Q, C)
        if before is not None:
            picture = self.enlarge(picture)  # (B, C, 2h, 2w)
            picture = (1 + torch.sigmoid(before.mean(1, keepdim=True))) * picture
        picture = picture + self.no_mask[..., None, None]
        size = picture.shape[-2:]
        places = self.positions[level](size).flatten(1).T[None]  # (1, P, C)
        tokens, seen = self.two_way[level](tokens, picture.flatten(2).transpose(1, 2), places)
        large = self.upscale(seen.transpose(1, 2).unflatten(2, size))  # (B, C/8, 2h, 2w)
        masks = torch.einsum("bqc,bchw->bqhw", _chain(self.kernels, tokens), large)
        head = self.semantic if kind == "semantic" else self.binary
        return head(_chain(self.mix, masks))


class QueryLayer(nn.Module):
    """Queries among themselves, then told the prompt, then an MLP; norms come after."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(width, ffn), nn.GELU(), nn.Linear(ffn, width))
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, queries: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
        """Queries (B, Q, C) and one prompt (B, 1, C) -> (B, Q, C)."""
        queries = self.norm1(queries + self.self_attn(queries, queries, queries, need_weights=False)[0])
        queries = self.norm2(queries + self.cross_attn(queries, prompt, prompt, need_weights=False)[0])
        return self.norm3(queries + self.ffn(queries))


class FourierPositions(nn.Module):
    """Places of a grid as sines and cosines of random directions.

    The directions were never trained and no published checkpoint holds them; a model folder does.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(2, width // 2))

    def forward(self, size: Sequence[int]) -> torch.Tensor:
        """A grid (h, w) -> (C, h, w); a place is its cell's centre, across before down."""
        directions = self.directions.float()  # never double: kept for parity with the published weights
        down, across = ((torch.arange(n, device=directions.device) + 0.5) / n * 2 - 1 for n in size)
        places = torch.stack([across.expand(size[0], -1), down[:, None].expand(-1, size[1])], dim=-1)  # (h, w, 2)
        angles = 2 * math.pi * (places @ directions)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).permute(2, 0, 1).to(self.directions.dtype)


class ChannelNorm(nn.Module):
    """A LayerNorm over the channels of a picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, NORM_EPS)
        return normed.permute(0, 3, 1, 2)


def _square(features: torch.Tensor) -> torch.Tensor:
    """(B, P, D), row by row -> (B, D, h, w) with h = w."""
    side = math.isqrt(features.shape[1])
    return features.transpose(1, 2).unflatten(2, (side, -1))


def _chain(layers: nn.ModuleList, x: torch.Tensor) -> torch.Tensor:
    """The layers with a ReLU between them."""
    for layer in layers[:-1]:
        x = F.relu(layer(x))
    return layers[-1](x)


def _resized(logits: torch.Tensor, side: int) -> torch.Tensor:
    """In float32, whose rounded places of pixels are kept for parity with the published weights."""
    return F.interpolate(logits, size=(side, side), mode="bilinear", align_corners=False)
