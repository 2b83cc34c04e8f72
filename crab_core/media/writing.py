"""Writing a video that plays everywhere: H.264 yuv420p and AAC in MP4, its index in front."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from crab_core.errors import InputError, ResourceError, UsageError
from crab_core.media.opening import shown

_BLOCK_SAMPLES = 1024


def write_video(
    path: Path,
    frames: npt.NDArray[np.uint8],
    fps: float,
    waveform: npt.NDArray[np.float32] | None = None,
    sample_rate_hz: int = 16_000,
    *,
    crf: int = 20,
    preset: str = "medium",
) -> None:
    """Write (N, H, W, 3) uint8 RGB frames and mono (S,) or (2, S) stereo float32 sound as an MP4 file.

    H.264 in 4:2:0 needs even sides: an odd one is padded by repeating its last row or column. `crf` is x264's quality,
    lower is better; the sound is clipped to full scale 1.
    Raises UsageError for frames of another shape or a rate that is not positive, InputError if the file cannot be
    written, ResourceError if the disk is full.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape or frames.dtype != np.uint8:
        raise UsageError(f"frames must be (N, H, W, 3) uint8 and not empty, got {frames.shape} {frames.dtype}")
    if waveform is not None and (waveform.ndim > 2 or (waveform.ndim == 2 and not 1 <= len(waveform) <= 2)):
        raise UsageError(f"sound must be (S,) or (1 or 2 channels, S), got {waveform.shape}")
    if not 0 < fps <= 1000:
        raise UsageError(f"cannot write '{fps}' frames a second", hint="Give a rate above 0 and up to 1000.")
    try:
        with av.open(f"file:{path}", "w", format="mp4", options={"movflags": "+faststart"}) as container:
            _write(container, frames, fps, waveform, sample_rate_hz, {"crf": str(crf), "preset": preset})
    except (av.error.FFmpegError, OSError) as err:
        if err.errno == errno.ENOSPC:
            raise ResourceError(f"the disk is full, at {shown(path)}", hint="Free some space and try again.") from err
        raise InputError(f"cannot write {shown(path)}: {err}", hint="Check that its directory exists.") from err


def _write(
    container: av.container.OutputContainer,
    frames: npt.NDArray[np.uint8],
    fps: float,
    waveform: npt.NDArray[np.float32] | None,
    sample_rate_hz: int,
    options: dict[str, str],
) -> None:
    rate = Fraction(fps).limit_denominator(1001)
    picture = container.add_stream("libx264", rate=rate, options=options)
    picture.height, picture.width = (side + side % 2 for side in frames.shape[1:3])
    picture.pix_fmt = "yuv420p"
    sounds: Iterator[av.AudioFrame] = iter(())
    if waveform is not None:
        layout = "mono" if waveform.ndim == 1 or len(waveform) == 1 else "stereo"
        sound = container.add_stream("aac", rate=sample_rate_hz, layout=layout)
        sounds = _sound_frames(np.atleast_2d(waveform), layout, sample_rate_hz)
    for i, pixels in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(_even(pixels), format="rgb24")
        frame.pts, frame.time_base = i, 1 / rate
        container.mux(picture.encode(frame))
        for block in sounds:  # keeps the two tracks side by side in the file
            container.mux(sound.encode(block))
            if block.pts > (i + 1) / rate * sample_rate_hz:
                break
    container.mux(picture.encode())
    if waveform is not None:
        for block in sounds:
            container.mux(sound.encode(block))
        container.mux(sound.encode())


def _even(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)


def _sound_frames(waveform: npt.NDArray[np.float32], layout: str, rate_hz: int) -> Iterator[av.AudioFrame]:
    """The sound (channels, S) in blocks of one AAC frame."""
    for start in range(0, waveform.shape[1], _BLOCK_SAMPLES):
        block = np.clip(waveform[:, start : start + _BLOCK_SAMPLES], -1.0, 1.0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
        yield frame
