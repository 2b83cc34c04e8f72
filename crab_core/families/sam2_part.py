"""SAM 2 becomes a part of a model folder, so that masks need no other files. Its files are copied as they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crab_core.families._base import Precision
from crab_core.families.sam2 import check_tensors, load

PART = "sam2"
LICENCE = "Apache-2.0"  # of every SAM 2 that was published
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Sam2Part:
    """What goes into a model folder: `copies` by their name there, `facts` for the header's `parts`."""

    copies: dict[str, Path]
    facts: dict[str, dict[str, str]]


def sam2_part(folder: Path | None) -> Sam2Part:
    """The part that a published folder of SAM 2 makes, nothing for None; reads config and names, no weights.

    Raises ModelError if the folder is not one of SAM 2, WeightsMismatch if tensors are lacking or of another size.
    """
    if folder is None:
        return Sam2Part({}, {})
    check_tensors(load(folder, Precision()))
    names = (
        [WHOLE] if (folder / WHOLE).is_file() else [INDEX, *(one.name for one in folder.glob("model-*.safetensors"))]
    )
    names += [one.name for one in folder.glob("LICENSE*") if one.is_file()]
    copies = {f"{PART}/{name}": folder / name for name in sorted(["config.json", *names])}
    return Sam2Part(copies, {PART: {"licence": LICENCE}})
