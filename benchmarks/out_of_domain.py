"""How often a model says that a clip looks unlike its training's: `python benchmarks/out_of_domain.py --out OUT.json`.

Files are made of scenes that should be known (the world's validation, test and demonstration splits), of scenes with
unseen turns, backgrounds and hues, and of pictures that are no scenes: noise, colour bars, checkers, line drawings,
text, gradients, flat shapes. Photographs and real videos come from `--photos DIR` and `--videos DIR`: each photograph
gives clips of a crop that moves, each video clips of ten seconds. Told: how many of how many are noted, in whole clips
and in single pictures, and the distances as shares of the limit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.engine.session import Model, Seen, load
from crab_core.engine.stopwatch import Stopwatch
from crab_core.media import load_clip, probe
from crab_core.media.writing import write_video
from crab_core.registry import TASKS
from crab_core.types import Request, View
from crab_core.world.bank import load_bank
from crab_core.world.picture import render_frames
from crab_core.world.scene import sample_scene

Frames = npt.NDArray[np.uint8]
FPS, SIZE_PX, SECONDS = 2, 224, 10
SPLITS = ("val", "test", "demo", "geometry")
SUFFIXES = {".mp4", ".mkv", ".avi", ".webm", ".mov"}


def main() -> None:
    """Make the files, measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=200, help="of each split of the world")
    parser.add_argument("--made", type=int, default=20, help="of each kind of made pictures")
    parser.add_argument("--only", nargs="+", help="these groups alone")
    parser.add_argument("--photos", type=Path, help="a folder of photographs")
    parser.add_argument("--videos", type=Path, help="a folder of real videos")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    args = parser.parse_args()
    model = load(args.model)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for name, clips in groups(args).items():
            shares = []
            for frames in clips():
                write_video(path, frames, FPS)
                shares.append(strangeness(model, path))
            rows[name] = told(np.array(shares))
            print(f"{name:12} {rows[name]}", flush=True)
    if args.out:
        args.out.write_text(json.dumps({"model": args.model, "groups": rows}, indent=1) + "\n", encoding="utf-8")


def strangeness(model: Model, path: Path) -> tuple[float, float]:
    """The distance of a file as a share of its limit, of the whole clip and of its first picture alone."""
    seen, task = Seen(model, Request(path)), TASKS["avqa"].load()
    encoded = seen.encode(task, Stopwatch())[2]
    alone = seen.encode_view(task, View((0.0,), ()), Stopwatch())[1]
    return encoded.strangeness["video"], alone.strangeness["video"]


def told(shares: npt.NDArray[np.float64]) -> dict[str, float | int]:
    """What is told of shares (clips, 2)."""
    if not len(shares):
        return {"clips": 0}
    low, middle, high = np.quantile(shares[:, 0], (0, 0.5, 1)).round(2).tolist()
    noted, alone = (shares > 1).sum(0).tolist()
    return {"clips": len(shares), "noted": noted, "pictures_noted": alone, "least": low, "median": middle, "most": high}


def groups(args: argparse.Namespace) -> dict[str, Callable[[], Iterator[Frames]]]:
    """What makes the clips of each group."""
    found: dict[str, Callable[[], Iterator[Frames]]] = {}
    for split in SPLITS:
        found[split] = lambda split=split: scenes(split, args.clips, args.seed)  # type: ignore[misc]
    for name, make in MADE.items():
        found[name] = lambda make=make: made(make, args.made, args.seed)  # type: ignore[misc]
    if args.photos:
        found["photographs"] = lambda: photographs(args.photos, args.seed)
    if args.videos:
        found["videos"] = lambda: videos(args.videos)
    return {name: make for name, make in found.items() if not args.only or name in args.only}


def scenes(split: str, clips: int, seed: int) -> Iterator[Frames]:
    """Scenes of the world."""
    bank = load_bank()
    for index in range(clips):
        scene = sample_scene(split, index, seed=seed, bank=bank)
        yield render_frames(scene, bank, SIZE_PX, np.arange(SECONDS * FPS) / FPS)  # type: ignore[arg-type]


def made(make: Callable[[np.random.Generator], Frames], clips: int, seed: int) -> Iterator[Frames]:
    """Clips of one picture that drifts, or of what a function makes of every frame."""
    for index in range(clips):
        rng = np.random.default_rng([seed, index])
        picture = make(rng)
        if picture.ndim == 4:
            yield picture
            continue
        step = rng.integers(-3, 4, 2)
        yield np.stack([np.roll(picture, tuple(step * number), (0, 1)) for number in range(SECONDS * FPS)])


def noise(rng: np.random.Generator) -> Frames:
    """Grains of 1 to 16 pixels that change from frame to frame."""
    grain = int(rng.choice([1, 2, 4, 8, 16]))
    small = rng.integers(0, 256, (SECONDS * FPS, SIZE_PX // grain, SIZE_PX // grain, 3), np.uint8)
    return small.repeat(grain, 1).repeat(grain, 2)


def bars(rng: np.random.Generator) -> Frames:
    """Upright bars of strong colours."""
    count = int(rng.integers(5, 14))
    colours = rng.choice([0, 64, 191, 255], (count, 3)).astype(np.uint8)
    return colours[np.arange(SIZE_PX) * count // SIZE_PX][None].repeat(SIZE_PX, 0)


def checker(rng: np.random.Generator) -> Frames:
    """Fields of two colours."""
    field = int(rng.integers(4, 40))
    places = np.arange(SIZE_PX) // field
    return rng.integers(0, 256, (2, 3), np.uint8)[(places[:, None] + places) % 2]


def lines(rng: np.random.Generator) -> Frames:
    """Dark strokes on paper."""
    page = np.full((SIZE_PX, SIZE_PX, 3), rng.integers(235, 256), np.uint8)
    for _ in range(int(rng.integers(15, 50))):
        start, end = rng.integers(0, SIZE_PX, (2, 2)).tolist()
        if rng.random() < 0.5:
            cv2.line(page, start, end, (20, 20, 20), int(rng.integers(1, 4)), cv2.LINE_AA)
        else:
            cv2.circle(page, start, int(rng.integers(5, 50)), (20, 20, 20), int(rng.integers(1, 4)), cv2.LINE_AA)
    return page


def text(rng: np.random.Generator) -> Frames:
    """Rows of letters."""
    page = np.full((SIZE_PX, SIZE_PX, 3), 250, np.uint8)
    for line in range(14, SIZE_PX, 16):
        letters = "".join(chr(one) for one in rng.integers(97, 123, 26))
        cv2.putText(page, letters, (4, line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (15, 15, 15), 1, cv2.LINE_AA)
    return page


def gradient(rng: np.random.Generator) -> Frames:
    """One colour becoming another."""
    first, last = rng.integers(0, 256, (2, 3))
    share = np.linspace(0, 1, SIZE_PX)[None, :, None]
    return (first + (last - first) * share).repeat(SIZE_PX, 0).astype(np.uint8)


def flat(rng: np.random.Generator) -> Frames:
    """Flat shapes on one colour."""
    page = np.full((SIZE_PX, SIZE_PX, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        colour = tuple(rng.integers(0, 256, 3).tolist())
        cv2.circle(page, rng.integers(0, SIZE_PX, 2).tolist(), int(rng.integers(10, 50)), colour, -1)
    return page


MADE: dict[str, Callable[[np.random.Generator], Frames]] = {
    "noise": noise,
    "bars": bars,
    "checker": checker,
    "lines": lines,
    "text": text,
    "gradient": gradient,
    "flat shapes": flat,
}


def photographs(folder: Path, seed: int) -> Iterator[Frames]:
    """Four clips of each: a square of .5 to 1 of its shorter side that moves across it."""
    for number, path in enumerate(sorted(folder.iterdir())):
        found = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if found is None:
            continue
        for turn in range(4):
            rng = np.random.default_rng([seed, number, turn])
            side = int(min(found.shape[:2]) * rng.uniform(0.5, 1))
            room = np.array(found.shape[:2]) - side
            places = np.linspace(rng.uniform(0, room + 1), rng.uniform(0, room + 1), SECONDS * FPS).astype(int)
            crops = [found[y : y + side, x : x + side, ::-1] for y, x in places.clip(0, room)]
            yield np.stack([cv2.resize(one, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA) for one in crops])


def videos(folder: Path) -> Iterator[Frames]:
    """Stretches of ten seconds of each, or all of it if it is shorter."""
    for path in sorted(one for one in folder.iterdir() if one.suffix in SUFFIXES):
        seconds = probe(path).duration_s
        for start in np.arange(0, max(1, seconds - 2), SECONDS):
            times = np.arange(start, min(seconds, start + SECONDS), 1 / FPS)
            yield load_clip(path, View(tuple(times.tolist()), ()), frame_size=(SIZE_PX, SIZE_PX)).frames


if __name__ == "__main__":
    main()
