"""From routing weights to numbers that can be shown: shares by token, layer, kind and second, and maps per head.

A map is composed, because heads are LoRA experts and the language model sees query tokens instead of patches:

    map[h, t, patch] = sum over queries q of  relevance(t, q) * share[h](t, q) * gaze(t, q, patch)

Scaled so that all heads, both media and all seconds together make 1: since the shares of a token make 1, the heads'
maps add up to the map of the whole model, and a head's mass is the part of the evidence that went through it.
Letters: R routers, T positions, H heads, S frames or seconds, Q queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crab_core.engine.heads_tokens import KINDS, Token
from crab_core.types import Medium

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

MEDIA: tuple[Medium, ...] = ("video", "audio")
_LAYER = re.compile(r"\.(\d+)\.")


def by_place(routers: Sequence[str], values: Floats) -> tuple[list[int], list[str], Floats]:
    """Layer numbers, projection names and the values (R, ...) as (layers, projections, ...); NaN where there is no
    router."""
    places = [(int(found[1]) if (found := _LAYER.search(name)) else 0, name.rpartition(".")[2]) for name in routers]
    layers = sorted({layer for layer, _ in places})
    projections = list(dict.fromkeys(name for _, name in places))
    table = np.full((len(layers), len(projections), *values.shape[1:]), np.nan, np.float32)
    for (layer, name), value in zip(places, values, strict=True):
        table[layers.index(layer), projections.index(name)] = value
    return layers, projections, table


def with_pictures_seen(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with a single picture as the first frame of the video, where a prompt shows no video."""
    if any(token.kind == "video" for token in tokens):
        return list(tokens)
    return [replace(token, kind="video") if token.kind == "image" else token for token in tokens]


def by_kind(tokens: Sequence[Token], shares: Floats) -> dict[str, Floats]:
    """The mean share (H,) of each kind of token that occurs, in the order of a prompt; `shares` is (T, H)."""
    kinds = np.array([token.kind for token in tokens[: len(shares)]])
    return {kind: shares[kinds == kind].mean(0) for kind in KINDS if (kinds == kind).any()}


def by_second(tokens: Sequence[Token], shares: Floats, medium: str) -> Floats:
    """The mean share (S, H) of each frame's or second's queries."""
    return np.nan_to_num(_grid(tokens, shares, medium).mean(1))


def head_maps(
    tokens: Sequence[Token], shares: Floats, relevance: Floats, gaze: Mapping[Medium, Floats]
) -> dict[str, Floats]:
    """Each medium's maps (H, S, rows, columns); `relevance` is (T,), `gaze` (S, Q, rows, columns) a medium.

    All maps together make 1, or 0 if nothing was relevant.
    """
    weighed = shares * relevance[: len(shares), None]  # (T, H)
    maps = {
        medium: _composed(_grid(tokens, weighed, medium), gaze[medium])
        for medium in MEDIA
        if medium in gaze and any(token.kind == medium for token in tokens)
    }
    total = sum(float(one.sum(dtype=np.float64)) for one in maps.values())
    return {medium: (one / total if total > 0 else one).astype(np.float32) for medium, one in maps.items()}


def _composed(weighed: Floats, gaze: Floats) -> Floats:
    """(S, Q, H) and (S or more, Q, rows, columns) as (H, S, rows, columns)."""
    return np.asarray(np.einsum("sqh,sqrc->hsrc", weighed, gaze[: len(weighed)]))


def _grid(tokens: Sequence[Token], values: Floats, medium: str) -> Floats:
    """Values (T, H) of one medium's positions as (S, Q, H)."""
    chosen = [place for place, token in enumerate(tokens) if token.kind == medium]
    seconds = len({tokens[place].index for place in chosen})
    return values[chosen].reshape(seconds, len(chosen) // max(seconds, 1), values.shape[-1])
