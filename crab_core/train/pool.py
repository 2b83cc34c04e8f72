"""Clips of the generated world, rendered once into arrays that training reads by index.

Frames, instance maps and filter banks lie in memory-mapped files, so that several processes share one copy and a
killed run finds them again. Letters: n clips, T seconds, S frame side in pixels, M map side, L spectrogram frames of a
second.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crab_core.progress import Listener, Progress, ignore
from crab_core.world.bank import Bank, load_bank
from crab_core.world.scene import Scene, fingerprint, sample_scene

FRAME_PX = 112
MAP_PX = 56
SECONDS = 10
FRAMES_PER_SECOND = 98  # spectrogram frames of one second without padding
BINS = 128
CHUNK = 50
SHORTEST_S = 4


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """Which clips: a split of the world, how many, and what share of them is shorter than ten seconds."""

    split: str
    clips: int
    seed: int = 0
    short_share: float = 0.0
    bank: Path | None = None

    def seconds(self, index: int) -> int:
        """How long clip `index` lasts: ten seconds, or 4 to 9 for the share of short ones."""
        draw = np.random.default_rng([self.seed, index, 77])
        return int(draw.integers(SHORTEST_S, SECONDS)) if draw.random() < self.short_share else SECONDS

    def scene(self, index: int) -> Scene:
        """The scene of clip `index`."""
        return sample_scene(self.split, index, seed=self.seed, bank=_bank(self.bank), seconds=self.seconds(index))

    @property
    def key(self) -> str:
        """A name that changes whenever the pixels or the sound would."""
        import hashlib

        document = [self.split, self.clips, self.seed, self.short_share, fingerprint(_bank(self.bank)), MAP_PX]
        return hashlib.sha256(json.dumps(document).encode()).hexdigest()[:16]


@lru_cache(maxsize=2)
def _bank(path: Path | None) -> Bank:
    return load_bank(path)


@dataclass(frozen=True)
class Pool:
    """Rendered clips; arrays are memory-mapped, seconds past a clip's end are zero."""

    plan: PoolPlan
    frames: npt.NDArray[np.uint8]  # (n, T, S, S, 3)
    maps: npt.NDArray[np.uint8]  # (n, T, M, M) instance ids, 0 is background
    banks: npt.NDArray[np.float16]  # (n, T, L, 128)

    def __len__(self) -> int:
        return len(self.frames)


def _shapes(clips: int) -> dict[str, tuple[tuple[int, ...], str]]:
    return {
        "frames": ((clips, SECONDS, FRAME_PX, FRAME_PX, 3), "uint8"),
        "maps": ((clips, SECONDS, MAP_PX, MAP_PX), "uint8"),
        "banks": ((clips, SECONDS, FRAMES_PER_SECOND, BINS), "float16"),
    }


def _open(folder: Path, clips: int, mode: str) -> dict[str, npt.NDArray[np.generic]]:
    from numpy.lib.format import open_memmap

    if mode == "w+":
        return {
            name: open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape)
            for name, (shape, dtype) in _shapes(clips).items()
        }
    return {name: np.load(folder / f"{name}.npy", mmap_mode=mode) for name in _shapes(clips)}  # type: ignore[arg-type]


def render_clip(
    scene: Scene, bank: Bank
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Frames (T, S, S, 3), instance maps (T, M, M) and filter banks (T, L, 128) of one scene."""
    import torch

    from crab_core.nn.filterbank import filter_bank
    from crab_core.types import SAMPLE_RATE_HZ
    from crab_core.world.picture import render
    from crab_core.world.sound import render_sound

    step = FRAME_PX // MAP_PX
    frames, ids = render(scene, bank, size=FRAME_PX)
    sound = render_sound(scene, bank)[: scene.seconds * SAMPLE_RATE_HZ].reshape(scene.seconds, SAMPLE_RATE_HZ)
    points = ids[:, step // 2 :: step, step // 2 :: step]
    return frames, points, filter_bank(torch.from_numpy(sound)).numpy()


def _render_chunk(job: tuple[Path, PoolPlan, int]) -> int:
    folder, plan, start = job
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    arrays = _open(folder, plan.clips, "r+")
    stop = min(start + CHUNK, plan.clips)
    for index in range(start, stop):
        scene = plan.scene(index)
        frames, maps, banks = render_clip(scene, _bank(plan.bank))
        arrays["frames"][index, : scene.seconds] = frames
        arrays["maps"][index, : scene.seconds] = maps
        arrays["banks"][index, : scene.seconds] = banks
    return start


def open_pool(plan: PoolPlan, cache: Path, *, processes: int = 1, on_progress: Listener = ignore) -> Pool:
    """The rendered clips of a plan, from `cache` or rendered now; chunks that a killed run finished are kept."""
    folder = cache / f"{plan.split}-{plan.key}"
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "chunks.txt"
    finished = {int(line) for line in journal.read_text().split()} if journal.exists() else set()
    if not journal.exists():
        _open(folder, plan.clips, "w+")
        journal.touch()
    todo = [(folder, plan, start) for start in range(0, plan.clips, CHUNK) if start not in finished]
    if todo:
        _render_all(todo, plan, journal, processes, on_progress)
    arrays = _open(folder, plan.clips, "r")
    return Pool(plan, arrays["frames"], arrays["maps"], arrays["banks"])  # type: ignore[arg-type]


def _render_all(
    todo: list[tuple[Path, PoolPlan, int]], plan: PoolPlan, journal: Path, processes: int, on_progress: Listener
) -> None:
    done = plan.clips - len(todo) * CHUNK
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes or os.cpu_count() or 1, len(todo))) as workers, journal.open("a") as record:
        for start in workers.imap_unordered(_render_chunk, todo):
            record.write(f"{start}\n")
            record.flush()
            done = min(plan.clips, done + CHUNK)
            on_progress(Progress("render", done, plan.clips, "clips", plan.split))
