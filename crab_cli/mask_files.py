"""What `crab segment --out DIR` holds: masks as pictures, as COCO run lengths, painted over the clip, on one sheet.

CLIP.json            the whole result
CLIP.rle.json        COCO: pictures, categories and run lengths
CLIP.masks/0002.500.png   one 8-bit picture with a palette for each time
CLIP.overlay.mp4     the clip with its masks and its own sound
    CLIP.heat/0002.500.png    how likely each place of the frame is inside, over the frame
CLIP.preview.png     one sheet
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_cli.files import make_folder
from crab_core.errors import ResourceError, UsageError
from crab_core.progress import Listener, ignore
from crab_core.registry import suggest
from crab_core.types import Mask, Request, Result

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crab_core.media import Probe
    from crab_core.render.scenes import Scene

ALL = "all"
FORMATS = {"json": ".json", "rle": ".rle.json", "png": ".masks", "heat": ".heat", "mp4": ".overlay.mp4"}
PREVIEW = ".preview.png"
HELD_S = 1.0  # how long marks of a time that was asked for by itself are shown


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Which files will be written, by format; nothing without --out."""

    paths: dict[str, Path]

    def write(self, result: Result, request: Request, found: Probe, on_progress: Listener = ignore) -> tuple[str, ...]:
        """Write them all and give notes; raises ResourceError if one cannot be written, InputError for a bad clip."""
        notes: tuple[str, ...] = ()
        for name, path in self.paths.items():
            try:
                notes += _WRITE[name](path, result, request, found, on_progress) or ()
            except OSError as err:
                if isinstance(err, (ResourceError, UsageError)) or not err.strerror:
                    raise
                raise ResourceError(f"cannot write '{path}': {err.strerror}", hint="Choose another --out.") from err
        return notes


def planned_masks(
    out: Path | None, formats: Sequence[str] | None, preview: bool, clip: Path, *, overwrite: bool
) -> MaskFiles:
    """The files that will be written about a clip, their folder made now.

    Raises UsageError for an unknown format, files without a folder, a folder that cannot be made or written, and what
    is there already unless it is to be replaced.
    """
    for name in formats or ():
        if name != ALL and name not in FORMATS:
            raise UsageError(f"no format is called '{name}'", hint=suggest(name, [*FORMATS, ALL], kind="format"))
    if out is None:
        if formats or preview:
            asked = f"--format '{formats[0]}'" if formats else "--preview"
            raise UsageError(f"{asked} writes files, and no folder was given", hint="Give one: --out DIR")
        return MaskFiles({})
    names = list(FORMATS) if ALL in (formats or ()) else list(dict.fromkeys(formats or ["json"]))
    paths = {name: out / f"{clip.name}{FORMATS[name]}" for name in names}
    if preview:
        paths["preview"] = out / f"{clip.name}{PREVIEW}"
    make_folder(out)
    for path in paths.values():
        if not overwrite and os.path.lexists(path):
            raise UsageError(f"'{path}' is there already", hint="Give --overwrite to replace it, or another --out.")
    return MaskFiles(paths)


def coco(result: Result, clip: Path) -> dict[str, Any]:
    """The masks in COCO's form: a picture for each time, a category for each label, run lengths as annotations."""
    times = sorted({mask.time_s for mask in result.masks})
    there = [mask for mask in result.masks if mask.area_px]
    names = list(dict.fromkeys(mask.label for mask in there))
    size = result.masks[0].size if result.masks else (0, 0)
    return {
        "info": {"description": f"{clip.name}, {result.task} by {result.model}"},
        "images": [
            {"id": number, "file_name": f"{clip.name}#t={at_s:g}", "time_s": at_s, "width": size[0], "height": size[1]}
            for number, at_s in enumerate(times, start=1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            _annotation(number, mask, times.index(mask.time_s) + 1, names.index(mask.label) + 1)
            for number, mask in enumerate(there, start=1)
        ],
    }


def _annotation(number: int, mask: Mask, image: int, category: int) -> dict[str, Any]:
    x0, y0, x1, y1 = mask.box or (0, 0, 0, 0)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": mask.to_rle(),
        "area": mask.area_px,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "score": mask.score,
        "iscrowd": 0,
    }


def _json(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> None:
    from crab_core.render.writers.json import write

    path.write_text(write(result, request.clip), encoding="utf-8", newline="\n")


def _rle(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> None:
    path.write_text(json.dumps(coco(result, request.clip), ensure_ascii=False) + "\n", encoding="utf-8")


def _png(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> None:
    from crab_core.render.marks import colours_of
    from crab_core.render.palette import class_colours, index_picture, numbers_of, palette_png

    path.mkdir(exist_ok=True)
    numbers = numbers_of(result.masks)
    colours = class_colours()
    if not any(mask.class_index for mask in result.masks):
        shades = colours_of(numbers)
        colours = [(0, 0, 0), *(shades[label] for label in numbers)]
    for at_s in sorted({mask.time_s for mask in result.masks}):
        masks = [mask for mask in result.masks if mask.time_s == at_s]
        picture = index_picture(masks, numbers, masks[0].size)
        path.joinpath(f"{at_s:08.3f}.png").write_bytes(palette_png(picture, colours))


def _heat(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> None:
    from crab_core.render.warmth import heat_over

    path.mkdir(exist_ok=True)
    for at_s, picture in _frames(result, request):
        grids = [mask.likelihood for mask in result.masks if mask.time_s == at_s]
        warm = heat_over(picture, [grid for grid in grids if grid is not None])
        _save(warm, path / f"{at_s:08.3f}.png")


def _frames(result: Result, request: Request) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """The frame of each time of the masks, at its own size, a few in memory at once."""
    from crab_core.media import load_clip
    from crab_core.types import View

    times = list(dict.fromkeys(mask.time_s for mask in result.masks))
    for start in range(0, len(times), 16):
        part = tuple(times[start : start + 16])
        clip = load_clip(request.clip, View(part, ()), audio_path=request.audio_path)
        yield from zip(part, clip.frames, strict=False)


def _mp4(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> tuple[str, ...]:
    from crab_core.media.repainting import paint_video

    scene = _scene(result, request, found)
    return paint_video(found, path, scene.frame, audio_path=request.audio_path, on_progress=on_progress)


def _preview(path: Path, result: Result, request: Request, found: Probe, on_progress: Listener) -> None:
    from crab_core.render.scenes import contact_sheet

    scene = _scene(result, request, found)
    frames = list(_frames(result, request))
    subtitle = ", ".join(part for part in (result.question or "", f"{result.task} by {result.model}") if part)
    sheet = contact_sheet(scene, frames, request.clip.name, subtitle)
    _save(sheet, path)


def _save(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write (H, W, 3) pixels as PNG; a disk that is full raises OSError, unlike cv2.imwrite."""
    import cv2

    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    path.write_bytes(data.tobytes())


def _scene(result: Result, request: Request, found: Probe) -> Scene:
    from crab_core.media.envelope import sound_envelope
    from crab_core.render.scenes import Scene

    held_s = request.track_s or (HELD_S if request.at_s else request.every_s)
    return Scene.of(result, found.size, sound_envelope(found, request.audio_path), held_s, found.duration_s or held_s)


_WRITE = {"json": _json, "rle": _rle, "png": _png, "heat": _heat, "mp4": _mp4, "preview": _preview}
