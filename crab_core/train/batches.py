"""Batches as pure functions of (seed, item numbers), read from arrays in memory.

A step's items may be shared out: what is drawn depends on all of them, and each share gets the rows at its places.

Letters: N frames or seconds of a batch, B clips, S frame side, T seconds, P patches, n sound tokens a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from crab_core.errors import UsageError
from crab_core.train.features import Features, pictures
from crab_core.train.lookups import Facts, recalled
from crab_core.train.masks import Meant, drawing_batch
from crab_core.train.packing import Packed, Row, pack
from crab_core.train.pool import Pool
from crab_core.train.shares import Batch, MakeBatches, Share
from crab_core.train.sketches import SIDE, rough_sketches
from crab_core.train.targets import DenseTargets, box_targets, patch_targets
from crab_core.world.moments import moment_samples, pick_second
from crab_core.world.spec import Scene

MaskMaker = Callable[[Sequence[Row], Any, int], dict[str, torch.Tensor]]
GAIN_RANGE, TINT_RANGE = 0.3, 0.12  # of the frame's contrast and of full white, each way
MOVED, BLURRED = 0.7, 0.4  # shares of the sketches that a mask decoder learns from
DRAWN = ("ms3", "ref-avs")  # of the tasks with masks; the one of s4 is among those of ms3
MOST_DRAWS = 50  # clips that are looked at for one row
SOUND_GAIN = 0.1  # half width of the random gain in units of the filter bank, about 6 dB
UNITS_PER_LEVEL = 0.1756  # ln(10) / (2 * 6.55582): what 10 dB are in units of the filter bank
MASKED_FRAMES, MASKED_BINS = 12, 16  # longest stripes hidden from the spectrogram (SpecAugment, arXiv 1904.08779)


def _moments(rng: np.random.Generator, targets: DenseTargets, count: int) -> tuple[Any, Any]:
    clips = rng.integers(0, len(targets.seconds), count)
    return clips, rng.integers(0, targets.seconds[clips])


def visual_batches(
    pool: Pool, targets: DenseTargets, seed: int, mean: Sequence[float], std: Sequence[float]
) -> MakeBatches:
    """Random frames, mirrored half of the time, with random contrast and tint."""

    def make(items: Sequence[int], shares: Sequence[Share]) -> list[Batch]:
        rng = np.random.default_rng([seed, items[0], 1])
        clips, seconds = _moments(rng, targets, len(items))
        shots = pool.frames[clips, seconds].astype(np.float32)  # (N, S, S, 3)
        cells = targets.cells[clips, seconds].astype(np.int64)  # (N, Q)
        shown = patch_targets(pool.maps[clips, seconds], targets.figures[clips])  # (N, P)
        boxes = box_targets(pool.maps[clips, seconds], targets.owners[clips, seconds])  # (N, Q, 4)
        if rng.random() < 0.5:
            side = int(np.sqrt(shown.shape[1]))
            shots, cells = shots[:, :, ::-1], cells.reshape(-1, 2, 3)[..., ::-1].reshape(len(items), -1)
            shown = shown.reshape(len(items), side, side)[:, :, ::-1].reshape(shown.shape)
            boxes = _mirrored(boxes)
        gain = 1 + GAIN_RANGE * rng.uniform(-1, 1, (len(items), 1, 1, 1))
        tint = 255 * TINT_RANGE * rng.uniform(-1, 1, (len(items), 1, 1, 3))
        shots = np.clip((shots - 128) * gain + 128 + tint, 0, 255).astype(np.float32)
        whole = {
            "frames": pictures(shots, mean, std),
            "seconds": torch.from_numpy(rng.integers(0, 10, len(items))),  # the tag is drawn apart from the picture
            "cells": torch.from_numpy(cells.copy()),
            "patches": torch.from_numpy(shown.copy()),
            "boxes": torch.from_numpy(boxes),
        }
        return [_at(whole, share) for share in shares]

    return make


def drawing_batches(
    pool: Pool, scenes: Sequence[Scene], seed: int, mean: Sequence[float], std: Sequence[float]
) -> MakeBatches:
    """Random pictures with every mask that can be asked of them, each with a sketch that is now and then off.

    A sketch may be of the mask moved by up to half a cell, and blurred, as a language model may tell it.
    """
    furthest = pool.maps.shape[-1] // SIDE // 2

    def make(items: Sequence[int], shares: Sequence[Share]) -> list[Batch]:
        rng = np.random.default_rng([seed, items[0], 4])
        meant: list[Meant] = []
        moved, blurred = [], []
        for clip in rng.integers(0, len(scenes), len(items)):
            second = pick_second(scenes[clip], rng)
            made = moment_samples(scenes[clip], second, pool.maps[clip, second], rng, tasks=DRAWN)
            meant.append((int(clip), second, [one.figures for one in made]))
            moved.append(rng.integers(-furthest, furthest + 1, (len(made), 2)) * (rng.random((len(made), 1)) < MOVED))
            blurred.append(rng.random(len(made)) < BLURRED)
        batches: list[Batch] = []
        for share in shares:
            batch = drawing_batch([meant[at] for at in share], pool, mean, std)
            off, unclear = (np.concatenate([kind[at] for at in share]) for kind in (moved, blurred))
            batches.append({**batch, "rough": rough_sketches(batch["truth"], off, unclear)})
        return batches

    return make


def _mirrored(boxes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(N, Q, 4) boxes of the mirrored frames: columns of cells change places, and left and right of each box."""
    swapped = boxes.reshape(len(boxes), 2, 3, 4)[:, :, ::-1]
    return np.stack([1 - swapped[..., 2], swapped[..., 1], 1 - swapped[..., 0], swapped[..., 3]], -1).reshape(
        boxes.shape
    )


def audio_batches(pool: Pool, targets: DenseTargets, seed: int) -> MakeBatches:
    """Random seconds of sound with random gain and hidden stripes of time and frequency."""

    def make(items: Sequence[int], shares: Sequence[Share]) -> list[Batch]:
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
        whole = {
            "banks": torch.from_numpy(banks),
            "seconds": torch.from_numpy(rng.integers(0, 10, len(items))),
            "heard": torch.from_numpy(targets.heard[clips, seconds].astype(np.float32)),
            "levels": torch.from_numpy(targets.levels[clips] + gain / UNITS_PER_LEVEL),
        }
        return [_at(whole, share) for share in shares]

    return make


@dataclass(frozen=True)
class LanguageBatches:
    """Random clips with texts made by `row(clip, still, rng)` behind their cached features.

    `stills` are the features of seconds on their own, where those differ from a second's in its clip. `masks` makes
    what a mask decoder learns from of the rows, their clips and the batch's length. `names` (V,) is the class
    that each token id names, -1 for none, if their facts are learnt, and with `recalls` also where values are told.
    """

    features: Features
    seconds: np.ndarray[Any, Any]
    row: Callable[[int, bool | None, np.random.Generator], Row]
    seed: int
    stills: Features | None = None
    masks: MaskMaker | None = None
    names: torch.Tensor | None = None
    recalls: bool = False

    def pieces(self, items: Sequence[int], shares: Sequence[Share], stills: int = 0) -> list[Batch]:
        """The batches of one step: of the items, and if wanted of so many rows about single pictures beside them.

        Rows of single pictures are short, so that apart they need little padding. Shares are places among both kinds.
        """
        rng = np.random.default_rng([self.seed, items[0], 3])
        kinds: list[tuple[int, bool | None]] = [(len(items), None)]
        if stills:
            kinds = [(len(items), False), (stills, True)]
        drawn = [self._draw(count, still, rng) for count, still in kinds]
        made = []
        for share in shares:
            start = 0
            for rows, clips in drawn:
                own = [at - start for at in share if start <= at < start + len(rows)]
                made += [self._batch([rows[at] for at in own], clips[own])] if own else []
                start += len(rows)
        return made

    def _draw(self, count: int, still: bool | None, rng: np.random.Generator) -> tuple[list[Row], np.ndarray[Any, Any]]:
        """Rows and their clips (B,); clips of which the tasks ask nothing are passed over.

        Raises UsageError if hardly any clip has something to ask.
        """
        rows, clips = [], []
        for clip in rng.integers(0, len(self.seconds), count * MOST_DRAWS):
            row = self.row(int(clip), still, rng)
            if row.texts:
                rows.append(row)
                clips.append(clip)
            if len(rows) == count:
                return rows, np.array(clips)
        raise UsageError("the stage's tasks ask nothing of nearly all clips", hint="Give it further tasks.")

    def _batch(self, rows: Sequence[Row], clips: np.ndarray[Any, Any]) -> Batch:
        features, stills = self.features, self.stills
        present = _present(rows, torch.from_numpy(self.seconds[clips]), features.seen.shape[1])  # (B, T)
        sources = [stills if stills is not None and one.second is not None else features for one in rows]
        numbers = torch.arange(present.shape[1]).repeat(len(rows), 1)  # (B, T)
        numbers[[one.second is not None for one in rows]] = 0
        packed = pack(rows)
        return {
            "seen": torch.stack([one.seen[clip] for one, clip in zip(sources, clips, strict=True)]).float(),
            "heard": torch.stack([one.heard[clip] for one, clip in zip(sources, clips, strict=True)]).float(),
            "in_sight": present & torch.tensor([[one.sees] for one in rows]),
            "in_earshot": present & torch.tensor([[one.hears] for one in rows]),
            "numbers": numbers,
            "masks": self.masks(rows, clips, packed.ids.shape[1]) if self.masks is not None else {},
            "lookups": self._lookups(rows, self.names[packed.ids], packed) if self.names is not None else {},
            **packed.to_dict(),
        }

    def _lookups(self, rows: Sequence[Row], named: torch.Tensor, packed: Packed) -> dict[str, torch.Tensor]:
        """What `Lookups` learn from: the classes named and recalled (B, L), where a row has facts, and these facts."""
        told = [one.facts or Facts() for one in rows]
        without = torch.tensor([one.facts is None for one in rows])
        named = named.masked_fill(without[:, None], -1)
        return {
            "names": named,
            **({"recalled": recalled(named, packed)} if self.recalls else {}),
            "choices": torch.from_numpy(np.stack([one.choices for one in told])),
            "measures": torch.from_numpy(np.stack([one.measures for one in told])),
        }


def _at(whole: Mapping[str, torch.Tensor], share: Share) -> Batch:
    """The rows of a step at these places; all of them as they are."""
    if len(share) == len(next(iter(whole.values()))):
        return whole
    return {name: tensor[list(share)] for name, tensor in whole.items()}


def _present(rows: Sequence[Row], seconds: torch.Tensor, longest: int) -> torch.Tensor:
    """(B, T) which seconds a row shows and plays: all of its clip, or the one that it is about."""
    numbers = torch.arange(longest)[None]
    whole = numbers < seconds[:, None]
    return torch.stack(
        [every if row.second is None else numbers[0] == row.second for row, every in zip(rows, whole, strict=True)]
    )
