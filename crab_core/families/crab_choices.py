"""What the release of Crab leaves open: which wording, which layers of CLIP, which position matrices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch

from crab_core.errors import ModelError
from crab_core.families._base import Choice
from crab_core.families.crab_import import DIRECTIONS, Filler
from crab_core.nn.crab import CrabModel
from crab_core.weights.folder import Header, check_files, read_header, replace_header
from crab_core.weights.lazy import LazyTensor, open_file
from crab_core.weights.release import VARIANTS
from crab_core.weights.streaming import write_streamed

PROFILES = ("train", "evaluation", "quick-start")
LAYER_PAIRS = ((14, 22), (14, 23))


def choices_of(model: CrabModel, header: Header) -> tuple[Choice, ...]:
    """Every choice that this network can take, that of the header first; raises ModelError if it draws no masks.

    Position variants are those shipped that have the decoder's width, beside the folder's own.
    """
    mask = model.config.mask
    if mask is None:
        raise ModelError(
            f"the model '{header.name}' draws no masks: there is nothing to calibrate",
            hint="Import it with --avs or --avss.",
        )
    own = Choice(header.profile, tuple(mask.layers), mask.positions)
    pairs = [pair for pair in LAYER_PAIRS if set(pair) <= set(model.visual_encoder.layers)]
    variants = [own.positions, *(one for one in VARIANTS if _known(one, mask.decoder.width))]
    grid = (Choice(*one) for one in product(PROFILES, pairs, variants))
    return tuple(dict.fromkeys([own, *grid]))


@contextmanager
def choosing(model: CrabModel, choice: Choice) -> Iterator[None]:
    """Within the block the network draws masks as if that had been chosen; the profile is the engine's business."""
    mask = model.config.mask
    assert mask is not None
    before = model.config
    kept = {name: buffer.clone() for name, buffer in _directions(model).items()}
    model.config = dataclasses.replace(before, mask=dataclasses.replace(mask, layers=choice.layers))
    try:
        if choice.positions != mask.positions:
            filler = Filler.of(choice.positions)
            for name, buffer in _directions(model).items():
                buffer.copy_(filler.directions(_level(name), mask.decoder.width).read())
        yield
    finally:
        model.config = before
        for name, buffer in _directions(model).items():
            buffer.copy_(kept[name])


def write_choice(folder: Path, choice: Choice) -> Header:
    """Makes it the choice of a folder: its header alone, or with the matrices of another position variant."""
    header = read_header(folder)
    check_files(folder, header)
    mask = dict(header.config["mask"])
    before = str(mask.get("positions", VARIANTS[0]))
    mask |= {"layers": list(choice.layers), "positions": choice.positions}
    training = {**header.training, "positions": choice.positions} if "positions" in header.training else header.training
    fresh = dataclasses.replace(
        header, profile=choice.profile, config={**header.config, "mask": mask}, training=training
    )
    if choice.positions != before:
        return _rewritten(folder, fresh, choice.positions)
    replace_header(folder, fresh)
    return fresh


def _rewritten(folder: Path, header: Header, positions: str) -> Header:
    filler = Filler.of(positions)
    files = {name: open_file(folder / name) for name in header.weights}
    for tensors in files.values():
        for name, lazy in tensors.items():
            level = _level(name)
            if level in DIRECTIONS:
                tensors[name] = _as(lazy, filler.directions(level, lazy.shape[1] * 2))
    others = {name: folder / name for name in header.files if name not in files}
    return write_streamed(folder, header, files, {}, copies=others)


def _as(lazy: LazyTensor, other: LazyTensor) -> LazyTensor:
    """The other's values in the dtype of the first."""
    return dataclasses.replace(other, dtype=lazy.dtype, read=lambda: other.read().to(lazy.dtype))


def _known(variant: str, width: int) -> bool:
    try:
        Filler.of(variant).directions(next(iter(DIRECTIONS)), width)
    except ModelError:
        return False
    return True


def _directions(model: CrabModel) -> dict[str, torch.Tensor]:
    return {name: buffer for name, buffer in model.named_buffers() if _level(name) in DIRECTIONS}


def _level(name: str) -> str:
    """`capabilities.avs.mask_decoder.positions.0.directions` -> `positions.0.directions`."""
    return ".".join(name.split(".")[-3:])
