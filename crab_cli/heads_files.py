"""What `crab visualize-heads CLIP --out DIR` writes: the page, its data, its figures and its video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_cli.files import make_folder
from crab_core.errors import UsageError
from crab_core.progress import Listener

if TYPE_CHECKING:
    from crab_core.engine.heads_report import HeadReport
    from crab_core.media import Probe
    from crab_core.types import Request

PAGE, DATA, ARRAYS, VIDEO, FIGURES = "heads.html", "heads.json", "heads.npz", "heads.mp4", "figures"


def check_video(found: Probe) -> None:
    """Raise UsageError for a clip that has no picture to paint over."""
    if not found.has_video:
        raise UsageError(
            f"--video paints over the picture, and '{found.path}' has none", hint="Leave --video out: the page has it."
        )


def check_free(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Make the folder; raises UsageError if that cannot be, or if a report is there already."""
    make_folder(out)
    there = [name for name in names if (out / name).exists()]
    if there and not overwrite:
        raise UsageError(
            f"'{out / there[0]}' is there already", hint="Choose another --out, or replace it: --overwrite"
        )


def write_report(out: Path, report: HeadReport, document: Mapping[str, Any], *, figures: bool) -> None:
    """The page, its data and its figures; raises ResourceError if one cannot be written."""
    import json

    import numpy as np

    from crab_core.errors import ResourceError
    from crab_core.render.heads_page import figures as drawn
    from crab_core.render.heads_page import heads_page

    arrays: dict[str, Any] = report.arrays()
    try:
        (out / DATA).write_bytes(_bytes(json.dumps(document, ensure_ascii=False) + "\n"))
        np.savez_compressed(out / ARRAYS, **arrays)
        (out / PAGE).write_bytes(_bytes(heads_page(document, arrays)))
        if figures:
            (out / FIGURES).mkdir(exist_ok=True)
            for name, content in drawn(document, arrays):
                (out / FIGURES / name).write_bytes(content)
    except OSError as err:
        raise ResourceError(f"cannot write into '{out}': {err.strerror}", hint="Choose another --out.") from err


def write_heads_video(
    path: Path, found: Probe, request: Request, report: HeadReport, document: Mapping[str, Any], on_progress: Listener
) -> tuple[str, ...]:
    """The clip under each head's maps, side by side, with its sound; gives notes. Raises what `paint_video` raises."""
    from crab_core.media.envelope import sound_envelope
    from crab_core.media.repainting import paint_video
    from crab_core.render.heads_video import HeadsScene

    arrays = report.arrays()
    if "map_video" not in arrays:
        return (f"no '{path.name}': there are no pixel maps",)
    scene = HeadsScene.of(document, arrays, found.size, sound_envelope(found, request.audio_path))
    return paint_video(found, path, scene.frame, audio_path=request.audio_path, on_progress=on_progress)


def _bytes(text: str) -> bytes:
    """UTF-8; what a file name has beyond it stands as an escape."""
    return text.encode("utf-8", "backslashreplace")
