"""Which of the open choices fits weights best: every one answers the same samples, whose masks are known.

Samples are a JSON list of objects, as published with the weights: `task` (s4, ms3, ref-avs), `image_path` or
`video_path`, `audio_path`, `mask_path`, and `exp` for ref-avs; paths are relative to the list. Others are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from crab_core.errors import InputError, ModelError
from crab_core.families._base import Choice, OpenFamily
from crab_core.progress import Listener, Progress, ignore
from crab_core.types import Mask, Request

if TYPE_CHECKING:
    from crab_core.engine.session import Model

TASKS = {"s4": "s4", "ms3": "ms3", "ref-avs": "ref-avs", "ref_avs": "ref-avs"}
LARGEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """A question whose mask is known: `request` asks it, `truth` is the file of the mask."""

    request: Request
    truth: Path


@dataclass(frozen=True, slots=True)
class Scored:
    """A choice and its mean IoU over the samples, 0 to 1."""

    choice: Choice
    iou: float


def read_samples(path: Path) -> tuple[list[Sample], int]:
    """The samples that have a mask, and how many others there are; raises InputError if it is no list of samples."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"it is larger than {LARGEST_BYTES >> 20} MiB")
        rows = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("it is no list of objects")
        samples = [_sample(row, path.parent) for row in rows if row.get("task") in TASKS and row.get("mask_path")]
    except OSError as err:
        raise InputError(f"cannot read '{path}': {err.strerror or err}", hint="Check the path.") from err
    except (ValueError, RecursionError) as err:
        raise InputError(f"'{path}' is no file of samples: {err}", hint="Give the release's example.json.") from err
    if not samples:
        raise InputError(
            f"'{path}' has no sample with a mask", hint=f"Samples of {', '.join(sorted(set(TASKS.values())))} do."
        )
    return samples, len(rows) - len(samples)


def _sample(row: dict[str, object], folder: Path) -> Sample:
    seen = row.get("video_path") or row.get("image_path")
    paths = (seen, row["mask_path"], row.get("audio_path") or "")
    if not all(isinstance(one, str) for one in paths) or not seen:
        raise ValueError(f"a sample of {row['task']} needs paths as text, got {paths}")
    picture = str(row.get("image_path") or "")
    second = re.search(r"(\d+)\.\w+$", picture) if row.get("video_path") else None
    request = Request(
        folder / str(seen),
        TASKS[str(row["task"])],
        str(row["exp"]) if row.get("exp") else None,
        folder / str(row["audio_path"]) if row.get("audio_path") else None,
        at_s=(float(second[1]) if second else 0.0,),
    )
    return Sample(request, folder / str(row["mask_path"]))


def calibrate(
    model: Model, family: object, samples: Sequence[Sample], on_progress: Listener = ignore
) -> tuple[Scored, ...]:
    """Every choice with its score, the best first; of equal ones the model's own stays first.

    Raises ModelError if nothing is open in the model, InputError for a bad sample.
    """
    if not isinstance(family, OpenFamily):
        raise ModelError(f"nothing is left open in the model '{model.name}'", hint="Only imported models are.")
    choices = family.choices(model.network, model.header)
    truths = [_truth(sample.truth) for sample in samples]
    scored = []
    for done, choice in enumerate(choices):
        on_progress(Progress("calibrate", done, len(choices), "choices", choice.profile))
        tuned = replace(model, header=replace(model.header, profile=choice.profile))
        with family.choosing(model.network, choice):
            found = [iou(tuned.infer(one.request).masks, truth) for one, truth in zip(samples, truths, strict=True)]
        scored.append(Scored(choice, float(np.mean(found))))
    return tuple(sorted(scored, key=lambda one: -one.iou))


def iou(masks: Sequence[Mask], truth: npt.NDArray[np.bool_]) -> float:
    """Of all masks together and the truth, enlarged or made smaller to them; 1 if both are empty."""
    if not masks:
        return float(not truth.any())
    told = np.logical_or.reduce([mask.pixels for mask in masks])
    height, width = told.shape
    true = cv2.resize(truth.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    union = int((told | true).sum())
    return float((told & true).sum() / union) if union else 1.0


def _truth(path: Path) -> npt.NDArray[np.bool_]:
    """A mask (H, W), true where any channel of the picture but its alpha is not 0."""
    if not path.is_file():
        raise InputError(f"no mask '{path}'", hint="Masks lie where the file of samples says.")
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"'{path}' is no picture", hint="Give a PNG file.")
    return np.asarray(picture.max(axis=2) > 0)
