"""Scenes become files: `00000.mp4 ...` with sound, and `labels.jsonl` with one row of truth a clip.

For tests, demonstrations and other programs; training renders from memory, which is many times faster. A clip is
finished under another name and then renamed, and its row follows, so that every row has a whole file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

from crab_core.errors import ResourceError, UsageError
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import SAMPLE_RATE_HZ, Mask
from crab_core.world.labels import SceneLabels, SeenBox, boxes, label
from crab_core.world.picture import render
from crab_core.world.scene import SPLITS, Scene, fingerprint, sample_scene
from crab_core.world.sound import render_sound

if TYPE_CHECKING:
    from crab_core.world.bank import Bank

Describe = Callable[[Scene, SceneLabels], Mapping[str, Any]]
DescribePictures = Callable[[Scene, npt.NDArray[np.uint8]], Mapping[str, Any]]
Row = dict[str, Any]

LABELS = "labels.jsonl"
SAMPLES = 1024  # of one packet of AAC
SIZES_PX = (32, 2048)
RATES = (1, 60)


@dataclass(frozen=True, slots=True)
class Film:
    """How clips are written: side of the square frame in pixels, frames a second, length in seconds."""

    size: int = 224
    fps: int = 8
    seconds: int = 10

    def __post_init__(self) -> None:
        if not SIZES_PX[0] <= self.size <= SIZES_PX[1] or self.size % 2:
            raise UsageError(f"a clip cannot be '{self.size}' pixels wide", hint="Give an even size from 32 to 2048.")
        if not RATES[0] <= self.fps <= RATES[1]:
            raise UsageError(f"a clip cannot have '{self.fps}' frames a second", hint="Give a rate from 1 to 60.")


def synthesize(
    out: Path,
    clips: int,
    *,
    seed: int = 0,
    split: str = "train",
    bank: Bank | None = None,
    film: Film | None = None,
    overwrite: bool = False,
    describe: Describe | None = None,
    describe_pictures: DescribePictures | None = None,
    on_progress: Listener = ignore,
) -> list[Row]:
    """Write scenes 0 to `clips - 1` of a split into a folder and return the rows of its `labels.jsonl`.

    describe, describe_pictures: give further keys of a clip's row, such as questions, from its labels and from the
    instance ids (seconds, H, W) of each second's picture. Raises UsageError for an unknown split, fewer
    than 1 clip or a folder that is in use (unless `overwrite`), ResourceError if the files cannot be written.
    """
    _check(out, clips, seed, split, overwrite=overwrite)
    if bank is None:
        from crab_core.world.bank import load_bank

        bank = load_bank()
    how = film or Film()
    try:
        _prepare(out)
        rows = []
        for index in range(clips):
            scene = sample_scene(split, index, seed=seed, bank=bank, seconds=how.seconds)
            rows.append(_write_clip(out, scene, bank, how, describe, describe_pictures))
            on_progress(Progress("synth", index + 1, clips, "clips"))
    except OSError as err:
        raise ResourceError(
            f"cannot write clips into '{out}': {err.strerror or err}", hint="Check its permissions and the free space."
        ) from err
    return rows


def write_film(path: Path, frames: npt.NDArray[np.uint8], sound: npt.NDArray[np.float32], fps: int) -> None:
    """Frames (N, H, W, 3) RGB and mono sound (S,) at 16 kHz as an mp4 with H.264 and AAC that browsers play.

    Raises OSError if the file cannot be written.
    """
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "20"})
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.codec_context.gop_size = 2 * fps
        video.codec_context.thread_count = 1  # the same bytes every time
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = 96_000
        for number, pixels in enumerate(frames):
            container.mux(video.encode(_picture(pixels, number, fps)))
        container.mux(video.encode(None))
        for start in range(0, len(sound), SAMPLES):
            container.mux(audio.encode(_samples(sound[start : start + SAMPLES], start)))
        container.mux(audio.encode(None))


def _check(out: Path, clips: int, seed: int, split: str, *, overwrite: bool) -> None:
    """Refuse what can be refused before anything is rendered."""
    if split not in SPLITS:
        raise UsageError(f"no split is called '{split}'", hint=f"Every split: {', '.join(SPLITS)}.")
    if clips < 1 or seed < 0:
        raise UsageError(f"cannot make '{clips}' clips of seed '{seed}'", hint="Give at least 1 clip and a seed >= 0.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"'{out}' is a file", hint="Name a folder for the clips.")
    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise UsageError(f"the folder '{out}' is not empty", hint="Name a new folder, or allow overwriting.")


def _prepare(out: Path) -> None:
    """Make the folder and take away the clips and rows of an earlier run; other files stay."""
    out.mkdir(parents=True, exist_ok=True)
    (out / LABELS).unlink(missing_ok=True)
    numbered = [path for path in out.glob("*.mp4") if path.stem.isdigit() and len(path.stem) >= 5]
    for old in [*numbered, *out.glob("*.mp4.part")]:
        old.unlink()


def _write_clip(
    out: Path,
    scene: Scene,
    bank: Bank,
    film: Film,
    describe: Describe | None,
    describe_pictures: DescribePictures | None,
) -> Row:
    path = out / f"{scene.index:05d}.mp4"
    unfinished = path.with_name(f"{path.name}.part")
    times = [number / film.fps for number in range(scene.seconds * film.fps)]
    frames, ids = render(scene, bank, film.size, times)
    write_film(unfinished, frames, render_sound(scene, bank), film.fps)
    truth = label(scene)
    row: Row = {
        "file": path.name,
        "split": scene.split,
        "seed": scene.seed,
        "index": scene.index,
        "kind": scene.kind,
        "seconds": scene.seconds,
        "size_px": film.size,
        "fps": film.fps,
        **truth.to_dict(),
        "boxes": _pixels(boxes(scene, ids[:: film.fps]), ids[:: film.fps]),
        "generator": fingerprint(bank),
        **(describe(scene, truth) if describe else {}),
        **(describe_pictures(scene, ids[:: film.fps]) if describe_pictures else {}),
    }
    unfinished.replace(path)
    with (out / LABELS).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    return row


def _pixels(found: Sequence[SeenBox], ids: npt.NDArray[np.uint8]) -> list[Row]:
    """The boxes in pixels of the clip's frame, each with the run lengths of what is visible of its drawing."""
    size = ids.shape[-1]
    return [
        {
            "name": box.name,
            "second": box.second,
            "figure": box.figure,
            "box": [round(corner * size) for corner in (box.x0, box.y0, box.x1, box.y1)],
            "rle": Mask.of("", 0.0, ids[box.second] == box.figure + 1).to_rle(),
        }
        for box in found
    ]


def _picture(pixels: npt.NDArray[np.uint8], number: int, fps: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    frame.pts, frame.time_base = number, Fraction(1, fps)
    return frame


def _samples(piece: npt.NDArray[np.float32], start: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece[None]), format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
    return frame
