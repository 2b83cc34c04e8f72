"""Frames and sound as Qwen2.5-Omni takes them: patches of two frames at a time, and a log-mel spectrogram.

Equal to transformers' own processors (which need torchvision for videos): tests/parity_plus.
Letters: N frames, T steps of two frames, h x w patches of a frame, F mel frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from crab_core.nn.plus_config import PIXEL_STEP, PlusMedia

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PATCH, PER_STEP, MERGE = 14, 2, 2  # pixels a side of a patch, frames a step, patches a side of a token
SAMPLE_RATE_HZ = 16_000
HOP = 160  # samples a mel frame
MEL_BINS = 128
REACH = 480  # samples of silence after a sound that its last mel frames reach into
LONGEST_S = 30  # of one sound


def size_for(media: PlusMedia, width: int, height: int) -> tuple[int, int]:
    """(width, height) at which a frame is shown: the trained square, or its own shape in multiples of 28 pixels.

    >>> size_for(PlusMedia(profile="native"), 640, 360)
    (644, 364)
    """
    if media.profile == "published":
        return media.frame_px, media.frame_px
    scale = min(1.0, (media.most_pixels / (width * height)) ** 0.5)
    step = PIXEL_STEP
    wide, high = (max(step, round(side * scale / step) * step) for side in (width, height))
    while wide * high > media.most_pixels and max(wide, high) > step:
        wide, high = (wide - step, high) if wide >= high else (wide, high - step)
    return wide, high


def patches(frames: npt.NDArray[np.uint8], media: PlusMedia) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Frames (N, H, W, 3) as patches (T h w, 3 * 2 * 14 * 14) and the grid (T, h, w).

    An odd number of frames is filled up with the last one; frames of another size are scaled with an antialiased
    bicubic filter.
    """
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float()  # (N, 3, H, W)
    width, height = size_for(media, pixels.shape[3], pixels.shape[2])
    if pixels.shape[2:] != (height, width):
        pixels = F.interpolate(pixels, (height, width), mode="bicubic", antialias=True, align_corners=False)
    mean, std = (torch.tensor(values)[:, None, None] for values in (media.mean, media.std))
    pixels = (pixels / 255 - mean) / std
    if len(pixels) % PER_STEP:
        pixels = torch.cat([pixels, pixels[-1:]])
    steps, high, wide = len(pixels) // PER_STEP, height // PATCH, width // PATCH
    split = pixels.reshape(steps, PER_STEP, 3, high // MERGE, MERGE, PATCH, wide // MERGE, MERGE, PATCH)
    # the four patches of a token lie together: (T, h/2, w/2, 2, 2, 3, 2, 14, 14)
    ordered = split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(steps * high * wide, -1), (steps, high, wide)


def log_mel(waveform: npt.NDArray[np.float32]) -> torch.Tensor:
    """The spectrogram (128, F) of a waveform (S,) at 16 kHz, of at least 1 s and at most 30 s, as Whisper has it."""
    import numpy as np
    from transformers import WhisperFeatureExtractor

    sound = waveform[: LONGEST_S * SAMPLE_RATE_HZ]
    sound = np.pad(sound, (0, max(0, SAMPLE_RATE_HZ - len(sound))))
    filled = np.pad(sound, (0, REACH))
    extract = WhisperFeatureExtractor(feature_size=MEL_BINS)
    found = extract(filled, sampling_rate=SAMPLE_RATE_HZ, padding="longest", return_tensors="pt").input_features[0]
    return found[:, : -(-len(sound) // HOP)]
