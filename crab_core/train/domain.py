"""What a model's training clips are like to its visual encoder, measured and put into its folder.

A model whose folder holds that tells with an answer when the pictures of a clip look unlike them (`nn/domain.py`).
Letters: n clips, T seconds, N pictures, P patches, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from crab_core.errors import InputError, UsageError
from crab_core.families._base import Precision
from crab_core.nn.crab import CrabModel
from crab_core.nn.domain import Domain, cloud
from crab_core.progress import Listener, Note, Progress, ignore
from crab_core.registry import FAMILIES
from crab_core.train.features import Features, pictures
from crab_core.train.network import read_model
from crab_core.train.pool import PoolPlan
from crab_core.train.roles import OpenNetwork
from crab_core.weights.folder import DOMAIN, Header, read_header, write_domain

CLIPS = 2_000
FEWEST = 40  # clips: of fewer, a limit would be chance
HELD_SHARE = 0.25  # of the clips, which the limits are read off and the cloud does not know
ALARMS = 0.003  # of clips like the training's that may be taken for strange


def domain_of(clips: Sequence[torch.Tensor]) -> Domain:
    """The statistics of clips in a random order, each the mean features (T, D) of its pictures, one a second.

    The first ones make the cloud, the others the limits: the median distance that a share `ALARMS` of them goes beyond,
    for each number of pictures. Raises InputError for too few clips.
    """
    if len(clips) < FEWEST:
        raise InputError(f"{len(clips)} clips are too few to tell what they are like", hint=f"Give {FEWEST} or more.")
    fitted = round(len(clips) * (1 - HELD_SHARE))
    mean, whitening = cloud(torch.cat(list(clips[:fitted])))
    found = Domain(mean, whitening, torch.ones(1))
    held = [found.distances(one[:, None]) for one in clips[fitted:]]
    limits = [_limit(held, length) for length in range(1, max(map(len, held)) + 1)]
    return Domain(mean, whitening, torch.stack(limits))


def _limit(held: Sequence[torch.Tensor], length: int) -> torch.Tensor:
    """The limit for the median over so many pictures, of the distances (T,) of clips."""
    medians = torch.cat([one.unfold(0, length, 1).median(1).values for one in held if len(one) >= length])
    return medians.quantile(1 - ALARMS)


def domain_of_features(features: Features, seconds: Sequence[int]) -> Domain:
    """The statistics of the first clips, which have so many seconds, of encoded ones: seen (n, T, P, D)."""
    clips = zip(features.seen, seconds, strict=False)
    return domain_of([seen[:length].float().mean(1) for seen, length in clips])


def measure_run(
    folder: Path, plan: PoolPlan, features_path: Callable[[CrabModel], Path], on_progress: Listener = ignore
) -> None:
    """Puts into the folder of a finished run what its clips are like, unless they are too few to tell or it is there.

    Features that the run's stages left at a path are read; without them the clips are drawn anew.
    """
    if plan.clips < FEWEST or DOMAIN in read_header(folder).files:
        return
    clips, path = min(CLIPS, plan.clips), features_path(read_model(folder))
    if path.exists():
        features = Features(**torch.load(path, weights_only=True, mmap=True))
        found = domain_of_features(features, [plan.seconds(index) for index in range(clips)])
        write_domain(folder, found.tensors())
    else:
        measure_world(folder, clips, seed=plan.seed, short_share=plan.short_share, on_progress=on_progress)


def measure_world(
    folder: Path, clips: int = CLIPS, *, seed: int = 1, short_share: float = 0.15, on_progress: Listener = ignore
) -> Header:
    """Measures the first clips of the world's training split and puts what they are like into a model folder.

    Only pictures are drawn. Raises UsageError for a model of another family, InputError for too few clips,
    ModelError for a damaged folder, ResourceError if the disk does not take it.
    """
    from crab_core.world.bank import load_bank
    from crab_core.world.picture import render_frames

    plan, bank = PoolPlan("train", clips, seed, short_share), load_bank()

    def shots(network: OpenNetwork) -> Iterator[torch.Tensor]:
        media = network.model.config.media
        for index in range(clips):
            on_progress(Progress("measure", index, clips, "clips", plan.split))
            drawn = render_frames(plan.scene(index), bank, media.frame_px)  # (N, S, S, 3)
            yield pictures(drawn, media.mean, media.std)

    return _measure(folder, shots)


def measure_files(folder: Path, files: Sequence[Path], *, on_progress: Listener = ignore) -> Header:
    """Measures videos and puts what their pictures are like into a model folder; files that cannot be used are told.

    Raises what `measure_world` raises.
    """
    from crab_core.media import load_clip, probe

    order = np.random.default_rng(0).permutation(len(files))

    def shots(network: OpenNetwork) -> Iterator[torch.Tensor]:
        for done, index in enumerate(order):
            on_progress(Progress("measure", done, len(files), "clips", files[index].name))
            try:
                view = network.view("avqa", probe(files[index]).duration_s)
                tensors = network.tensors_of(load_clip(files[index], view, frame_size=network.frame_size))
            except InputError as err:
                on_progress(Note(f"'{files[index]}' is left out: {err.message}", seen=True))
                continue
            if "frames" in tensors:
                yield tensors["frames"]

    return _measure(folder, shots)


@torch.no_grad()
def _measure(folder: Path, shots: Callable[[OpenNetwork], Iterator[torch.Tensor]]) -> Header:
    family = read_header(folder).family
    if family != "crab":
        raise UsageError(f"a model of the family '{family}' keeps no such statistics", hint="Give one of 'crab'.")
    network: OpenNetwork = FAMILIES[family].load().load(folder, Precision())
    assert isinstance(network.model, CrabModel)
    clips = [network.model.visual_encoder(one)[-1].mean(1) for one in shots(network)]
    return write_domain(folder, domain_of(clips).tensors())
