"""Batches as pure functions of (seed, item numbers), read from arrays in memory.

Letters: N frames or seconds of a batch, B clips, S frame side, T seconds, P patches, n sound tokens a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from crab_core.train.features import Features, pictures
from crab_core.train.packing import Row, pack
from crab_core.train.pool import Pool
from crab_core.train.targets import DenseTargets, patch_targets

Batch = Mapping[str, Any]
MakeBatch = Callable[[list[int]], Batch]
GAIN_RANGE, TINT_RANGE = 0.3, 0.12  # of the frame's contrast and of full white, each way
SOUND_GAIN = 0.1  # half width of the random gain in units of the filter bank, about 6 dB
UNITS_PER_LEVEL = 0.1756  # ln(10) / (2 * 6.55582): what 10 dB are in units of the filter bank
MASKED_FRAMES, MASKED_BINS = 12, 16  # longest stripes hidden from the spectrogram (SpecAugment, arXiv 1904.08779)


def _moments(rng: np.random.Generator, targets: DenseTargets, count: int) -> tuple[Any, Any]:
    clips = rng.integers(0, len(targets.seconds), count)
    return clips, rng.integers(0, targets.seconds[clips])


def visual_batches(
    pool: Pool, targets: DenseTargets, seed: int, mean: Sequence[float], std: Sequence[float]
) -> MakeBatch:
    """Random frames, mirrored half of the time, with random contrast and tint."""

    def make(items: list[int]) -> Batch:
        rng = np.random.default_rng([seed, items[0], 1])
        clips, seconds = _moments(rng, targets, len(items))
        shots = pool.frames[clips, seconds].astype(np.float32)  # (N, S, S, 3)
        cells = targets.cells[clips, seconds].astype(np.int64)  # (N, Q)
        shown = patch_targets(pool.maps[clips, seconds], targets.figures[clips])  # (N, P)
        if rng.random() < 0.5:
            side = int(np.sqrt(shown.shape[1]))
            shots, cells = shots[:, :, ::-1], cells.reshape(-1, 2, 3)[..., ::-1].reshape(len(items), -1)
            shown = shown.reshape(len(items), side, side)[:, :, ::-1].reshape(shown.shape)
        gain = 1 + GAIN_RANGE * rng.uniform(-1, 1, (len(items), 1, 1, 1))
        tint = 255 * TINT_RANGE * rng.uniform(-1, 1, (len(items), 1, 1, 3))
        shots = np.clip((shots - 128) * gain + 128 + tint, 0, 255).astype(np.float32)
        return {
            "frames": pictures(shots, mean, std),
            "seconds": torch.from_numpy(rng.integers(0, 10, len(items))),  # the tag is drawn apart from the picture
            "cells": torch.from_numpy(cells.copy()),
            "patches": torch.from_numpy(shown.copy()),
        }

    return make


def audio_batches(pool: Pool, targets: DenseTargets, seed: int) -> MakeBatch:
    """Random seconds of sound with random gain and hidden stripes of time and frequency."""

    def make(items: list[int]) -> Batch:
        rng = np.random.default_rng([seed, items[0], 2])
        clips, seconds = _moments(rng, targets, len(items))
        banks = pool.banks[clips, seconds].astype(np.float32)  # (N, L, 128)
        gain = (SOUND_GAIN * rng.uniform(-1, 1, (len(items), 1))).astype(np.float32)
        banks += gain[..., None]
        for bank in banks[: len(banks) // 2]:
            frame, width = int(rng.integers(bank.shape[0])), int(rng.integers(1, MASKED_FRAMES))
            bank[frame : frame + width] = bank.mean()
            bin_, height = int(rng.integers(bank.shape[1])), int(rng.integers(1, MASKED_BINS))
            bank[:, bin_ : bin_ + height] = bank.mean()
        return {
            "banks": torch.from_numpy(banks),
            "seconds": torch.from_numpy(rng.integers(0, 10, len(items))),
            "heard": torch.from_numpy(targets.heard[clips, seconds].astype(np.float32)),
            "levels": torch.from_numpy(targets.levels[clips] + gain / UNITS_PER_LEVEL),
        }

    return make


def language_batches(
    features: Features, seconds: np.ndarray[Any, Any], row: Callable[[int, np.random.Generator], Row], seed: int
) -> MakeBatch:
    """Random clips with texts made by `row(clip, rng)` behind their cached features."""
    seen, heard = features.seen, features.heard

    def make(items: list[int]) -> Batch:
        rng = np.random.default_rng([seed, items[0], 3])
        clips = rng.integers(0, len(seconds), len(items))
        rows = [row(int(clip), rng) for clip in clips]
        chosen = torch.from_numpy(clips)
        present = torch.arange(seen.shape[1])[None] < torch.from_numpy(seconds[clips])[:, None]  # (B, T)
        return {
            "seen": seen[chosen].float(),
            "heard": heard[chosen].float(),
            "in_sight": present & torch.tensor([[one.sees] for one in rows]),
            "in_earshot": present & torch.tensor([[one.hears] for one in rows]),
            **pack(rows).to_dict(),
        }

    return make
