"""`crab segment`: which pixels show what makes the sound, or what an expression means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from crab_cli import options, options_batch
from crab_cli.asked import Asked, answered, check_drawn
from crab_cli.bars import bars, spinner
from crab_cli.batch import BatchOptions, infer_many, is_many
from crab_cli.commands.infer import refuse_silence
from crab_cli.commands.localize import seconds
from crab_cli.mask_files import planned_masks
from crab_cli.output import Output
from crab_core.errors import UsageError
from crab_core.types import Decoding, Request


def command(
    clip: Annotated[
        Path,
        typer.Argument(
            metavar="CLIP",
            parser=options.a_path,
            help="A video or a picture file; or many: a folder, a list (.txt, or - for stdin), a table.",
            show_default=False,
        ),
    ],
    expr: Annotated[
        str | None, typer.Option("--expr", metavar="TEXT", help="What to cut out, in words, sounding or not.")
    ] = None,
    semantic: Annotated[bool, typer.Option("--semantic", help="One mask for each class of AVSBench's 71.")] = False,
    task: Annotated[
        Literal["s4", "ms3"] | None,
        typer.Option("--task", help="ms3: all that sounds (the default); s4: the one thing that sounds."),
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="SECONDS", help="At these times, as 2.5,4.")] = None,
    every: Annotated[
        float | None, typer.Option("--every", metavar="SECONDS", help="So often; every second if nothing is said.")
    ] = None,
    masks: options.Masks = "auto",
    sam2: options.Sam2 = None,
    track: Annotated[
        float | None,
        typer.Option("--track", metavar="SECONDS", help="Between these times SAM 2 tracks a mask, so often."),
    ] = None,
    audio: options.Audio = None,
    require_audio: options.RequireAudio = False,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    max_memory: options.MaxMemory = None,
    compiled: options.Compiled = False,
    seed: options.Seed = 0,
    max_new_tokens: options.MaxNewTokens = None,
    out: options.Out = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", "-f", metavar="FORMAT", help="With --out: json, rle, png, heat, mp4 or all; may be repeated."
        ),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="With --out: also one sheet of pictures.")] = False,
    overwrite: options_batch.Overwrite = False,
    glob: options_batch.Glob = None,
    retry_failed: options_batch.RetryFailed = False,
    fail_fast: options_batch.FailFast = False,
    full_hash: options_batch.FullHash = False,
    workers: options_batch.Workers = 1,
    batch: options_batch.Batch = None,
    decoders: options_batch.Decoders = 2,
    shard: options_batch.Shard = None,
    stats: options.StatsFlag = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Cut out what makes the sound, or what you name.

    Masks have the size of the original frames. stdout tells time, label, pixels and score of each; --out DIR holds the
    masks: png (a palette picture for each time), rle (COCO), heat (how likely each place is inside), mp4 (the clip with
    its masks and its sound).

    --masks sam2 draws with SAM 2 what the model's boxes and points show, also where the model has no masks of its own;
    --track 0.2 follows them from one time to the next.

    Many clips go into --out DIR as results.jsonl, with their masks as COCO run lengths.

    \b
    Examples:
      crab segment band.mp4 -o masks -f png -f mp4 --preview
      crab segment band.mp4 --masks sam2 --every 5 --track 0.2 -o masks -f mp4
      crab segment band.mp4 --expr "the object making the loudest sound" --at 2.5,4
    """
    output = Output(quiet=quiet, verbose=verbose, as_json=json, stats=stats)
    name = _task(task, expr, semantic)
    _check_track(track)
    request = Request(
        clip,
        name,
        expr,
        audio,
        require_audio=require_audio,
        at_s=seconds(at),
        every_s=_every(at, every),
        track_s=track,
    )
    asked = Asked(
        model,
        device,
        dtype,
        quantize,
        max_new_tokens,
        0.0,
        1.0,
        seed,
        max_memory,
        masks,
        sam2,
        draws=True,
        compiled=compiled,
    )
    many = BatchOptions(glob, fail_fast, retry_failed, overwrite, full_hash, workers, shard, "local", None, None)
    if is_many(clip):
        if preview or set(formats or ()) - {"json"}:
            raise UsageError(
                "files of masks are made of one clip at a time, and many were given",
                hint="Leave --format and --preview out: results.jsonl holds the masks.",
            )
        check_drawn(asked, request)
        infer_many(clip, request, asked.spec(batch or 0, decoders), many, out, formats, output)
    else:
        many.refuse_single(clip)
        _segment_one(request, asked, out, formats, preview, overwrite, output)


def _segment_one(
    request: Request,
    asked: Asked,
    out: Path | None,
    formats: list[str] | None,
    preview: bool,
    overwrite: bool,
    output: Output,
) -> None:
    """Cheap checks first: a mistake is told before torch is imported and weights are read."""
    from crab_core.engine.checks import probe_for, task_of
    from crab_core.engine.moments import check_tracking, moments_of

    task = task_of(request)
    check_drawn(asked, request)
    found = probe_for(request, task)
    moments_of(request, found.duration_s)
    check_tracking(request, found.duration_s)
    files = planned_masks(out, formats, preview, request.clip, overwrite=overwrite)

    folder = asked.folder()
    with spinner(output, f"loading {folder.name}") as listen:
        loaded = asked.load(listen)
    decoding = Decoding(asked.max_new_tokens or task.max_new_tokens, 0.0, 1.0, asked.seed)
    with bars(output) as listen:
        stream = output.stream(task)
        result = answered(loaded, output, lambda: loaded.infer(request, decoding, stream, on_progress=listen))
    output.result(result)
    with bars(output) as listen:
        notes = files.write(result, request, found, listen)
    for note in notes:
        output.note(note)
    refuse_silence(result)


def _check_track(track: float | None) -> None:
    if track is not None and not 0 < track < float("inf"):
        raise UsageError(f"--track must be above 0, got {track:g}", hint="Give seconds: --track 0.2")


def _task(task: str | None, expr: str | None, semantic: bool) -> str:
    chosen = {"--task": task, "--expr": expr, "--semantic": semantic or None}
    given = [flag for flag, value in chosen.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} ask for different things", hint="Give one of them.")
    if expr is not None and not expr.strip():
        raise UsageError("--expr is empty", hint='Say what to cut out: --expr "the dog on the left"')
    return "ref-avs" if expr is not None else "avss" if semantic else task or "ms3"


def _every(at: str | None, every: float | None) -> float:
    if at is not None and every is not None:
        raise UsageError(f"--at '{at}' and --every {every:g} ask for different times", hint="Give one of them.")
    if every is not None and not 0 < every < float("inf"):
        raise UsageError(f"--every must be above 0, got {every:g}", hint="Give seconds: --every 0.5")
    return every or 1.0
