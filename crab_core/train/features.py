"""Encoder outputs of a pool, computed once: language stages read them instead of pixels and sound.

Letters: n clips, T seconds, P patches, D width, k sound tokens a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from crab_core.nn.crab import CrabModel
from crab_core.progress import Listener, Progress, ignore
from crab_core.train.pool import SECONDS, Pool

CLIPS_AT_ONCE = 10


@dataclass(frozen=True)
class Features:
    """What the encoders gave for every second: seen (n, T, P, D) and heard (n, T, k, D), float16."""

    seen: torch.Tensor
    heard: torch.Tensor


@torch.no_grad()
def project(model: CrabModel, features: Features, *, still: bool = False) -> Features:
    """The rows that the projectors make of features: seen (n, T, Q, W) and heard (n, T, q, W), float16.

    `still` takes every second as the first and only one of its clip.
    """
    model.eval()
    seen, heard = [], []
    for start in range(0, len(features.seen), CLIPS_AT_ONCE):
        pictures, sounds = (one[start : start + CLIPS_AT_ONCE].float() for one in (features.seen, features.heard))
        count, seconds = pictures.shape[:2]
        numbers = torch.arange(seconds).repeat(count) * (not still)
        video = model.vl_projector(model.tag_video(pictures.flatten(0, 1), numbers))
        audio = model.al_projector(model.tag_audio(sounds.flatten(0, 1), numbers))
        seen.append(video.unflatten(0, (count, seconds)).half())
        heard.append(audio.unflatten(0, (count, seconds)).half())
    return Features(torch.cat(seen), torch.cat(heard))


def pictures(frames: npt.NDArray[Any], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(N, S, S, 3) pixels from 0 to 255 -> (N, 3, S, S) float32, normalised."""
    scaled = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2).float() / 255
    return (scaled - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@torch.no_grad()
def encode_pool(
    model: CrabModel, pool: Pool, mean: Sequence[float], std: Sequence[float], *, on_progress: Listener = ignore
) -> Features:
    """The features of every clip of a pool; seconds past a clip's end hold what black and silence give."""
    model.eval()
    seen, heard = [], []
    for start in range(0, len(pool), CLIPS_AT_ONCE):
        frames = pool.frames[start : start + CLIPS_AT_ONCE]
        count = len(frames)
        shots = pictures(frames.reshape(-1, *frames.shape[2:]), mean, std)
        patches = model.visual_encoder(shots)[-1]
        seen.append(patches.reshape(count, SECONDS, *patches.shape[1:]).half())
        banks = torch.from_numpy(pool.banks[start : start + CLIPS_AT_ONCE].astype(np.float32))
        tokens = model.audio_encoder(banks.flatten(0, 1))
        heard.append(tokens.reshape(count, SECONDS, *tokens.shape[1:]).half())
        if start % (CLIPS_AT_ONCE * 20) == 0:
            on_progress(Progress("encode", start + count, len(pool), "clips", pool.plan.split))
    return Features(torch.cat(seen), torch.cat(heard))
