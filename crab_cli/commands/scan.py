"""`crab scan`: everything that a model can say of a clip, at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options, options_batch
from crab_cli.asked import Asked, answered
from crab_cli.bars import bars, spinner
from crab_cli.commands.localize import seconds
from crab_cli.files import Target, planned
from crab_cli.mask_files import ALL, FORMATS, MaskFiles, planned_masks
from crab_cli.output import Output
from crab_core.errors import UsageError
from crab_core.types import Request

GIVES = ("answer", "events", "boxes", "masks")


def command(
    clip: Annotated[
        Path,
        typer.Argument(metavar="CLIP", parser=options.a_path, help="A video file.", show_default=False),
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="SECONDS", help="Boxes and masks at these times, as 2.5,4, not once an event."),
    ] = None,
    masks: options.Masks = "auto",
    sam2: options.Sam2 = None,
    window: options.Window = None,
    stride: options.Stride = None,
    audio: options.Audio = None,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    max_memory: options.MaxMemory = None,
    compiled: options.Compiled = False,
    seed: options.Seed = 0,
    out: options.Out = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="With --out: any format of crab localize or crab segment, or all."
        ),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="With --out: also one sheet of pictures.")] = False,
    overwrite: options_batch.Overwrite = False,
    stats: options.StatsFlag = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Tell everything of a clip: a caption, its events, and boxes and masks of what sounds.

    The clip is looked at once; events choose the times of boxes and masks. What the model has not learnt is left out,
    and notes say so. --masks sam2 draws masks of what the boxes show. The whole is one JSON document with --json, and
    files with --out.

    \b
    Examples:
      crab scan street.mp4
      crab scan street.mp4 --json > street.json
      crab scan band.mp4 -o scan -f all --preview
    """
    output = Output(quiet=quiet, verbose=verbose, as_json=json, stats=stats, draws=True)
    request = Request(clip, "avvp", None, audio, at_s=seconds(at), window_s=window, stride_s=stride)
    asked = Asked(
        model, device, dtype, quantize, None, 0.0, 1.0, seed, max_memory, masks, sam2, draws=True, compiled=compiled
    )
    _scan(request, asked, out, formats, preview, overwrite, output)


def _scan(
    request: Request,
    asked: Asked,
    out: Path | None,
    formats: list[str] | None,
    preview: bool,
    overwrite: bool,
    output: Output,
) -> None:
    from crab_core.engine.drawing import check_source
    from crab_core.engine.moments import moments_of
    from crab_core.media import probe

    check_source(asked.masks, asked.sam2)
    folder = asked.folder()
    found = probe(request.clip, request.audio_path)
    if not (found.has_video or found.has_audio):
        raise UsageError(f"'{request.clip}' holds neither pictures nor sound", hint="Give a video.")
    if request.at_s:
        moments_of(request, found.duration_s)
    events, masks = _files(request.clip, out, formats, preview, overwrite)

    from crab_core.engine.scan import scan
    from crab_core.engine.session import Seen

    with spinner(output, f"loading {folder.name}") as listen:
        loaded = asked.load(listen)
    with bars(output) as listen:
        result = answered(loaded, output, lambda: scan(Seen(loaded, request), request, asked.seed, listen))
    output.result(result)
    for file in events:
        file.write(result, request.clip)
    with bars(output) as listen:
        for note in masks.write(result, request, found, listen):
            output.note(note)


def _files(
    clip: Path, out: Path | None, formats: list[str] | None, preview: bool, overwrite: bool
) -> tuple[list[Target], MaskFiles]:
    """Files of events, and of masks and the whole; `all` is every one of both."""
    named = list(formats or [])
    of_masks = [name for name in named if name in (*FORMATS, ALL)]
    of_events = [name for name in named if name not in FORMATS]
    masks = planned_masks(out, of_masks or None, preview, clip, overwrite=overwrite) if out or not of_events else None
    events = planned(out, of_events, clip, GIVES, overwrite=overwrite) if of_events else []
    taken = set(masks.paths.values()) if masks is not None else set()
    return [target for target in events if target.path not in taken], masks or MaskFiles({})
