"""`crab localize`: what happens in a clip and when, as a table, a timeline and files; where, if asked."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from crab_cli import options, options_batch
from crab_cli.asked import Asked
from crab_cli.batch import BatchOptions, infer_many, is_many
from crab_cli.commands.infer import check_where, infer_one
from crab_cli.output import Output
from crab_core.types import Request


def seconds(text: str | None) -> tuple[float, ...]:
    """`2.5,4` as numbers, `None` as none; raises what Typer raises for anything else."""
    times = []
    for part in (text or "").split(",") if text is not None else []:
        try:
            time_s = float(part)
        except ValueError:
            raise typer.BadParameter(f"'{part.strip()}' is not a number of seconds, in '{text}'") from None
        if not 0 <= time_s < float("inf"):
            raise typer.BadParameter(f"'{part.strip()}' is not a time of the clip, in '{text}'")
        times.append(time_s)
    return tuple(times)


def command(
    clip: options.ManyClips,
    task: Annotated[
        Literal["avvp", "ave"],
        typer.Option("--task", help="avvp: all that is seen and all that is heard; ave: what is both at once."),
    ] = "avvp",
    where: Annotated[bool, typer.Option("--where", help="Also find boxes of what sounds, once an event.")] = False,
    at: Annotated[
        str | None, typer.Option("--at", metavar="SECONDS", help="With --where: at these times instead, as 2.5,4.")
    ] = None,
    window: options.Window = None,
    stride: options.Stride = None,
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
    temperature: options.Temperature = 0.0,
    top_p: options.TopP = 1.0,
    out: options.Out = None,
    formats: options.Formats = None,
    glob: options_batch.Glob = None,
    retry_failed: options_batch.RetryFailed = False,
    fail_fast: options_batch.FailFast = False,
    overwrite: options_batch.Overwrite = False,
    full_hash: options_batch.FullHash = False,
    workers: options_batch.Workers = 1,
    batch: options_batch.Batch = None,
    decoders: options_batch.Decoders = 2,
    shard: options_batch.Shard = None,
    engine: options_batch.EngineName = "local",
    address: options_batch.Address = None,
    gpus_per_worker: options_batch.GpusPerWorker = None,
    stats: options.StatsFlag = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find what happens in a clip, and when.

    Events go to stdout: a table with a timeline on a terminal, else lines of start, end, track and label, separated by
    tabs; with --where an empty line and lines of time, box and label after them. Times are seconds, boxes are pixels
    of the original frame. Clips of any length are looked at in overlapping windows.

    Many clips go into --out DIR, as with crab infer.

    \b
    Examples:
      crab localize street.mp4
      crab localize street.mp4 -o labels -f srt -f elan
      crab localize band.mp4 --task ave --where --at 2.5,4
    """
    output = Output(quiet=quiet, verbose=verbose, as_json=json, stats=stats, draws=True)
    request = Request(
        clip,
        task,
        None,
        audio,
        require_audio=require_audio,
        at_s=_times(where, at),
        window_s=window,
        stride_s=stride,
        where=where,
    )
    asked = Asked(
        model, device, dtype, quantize, max_new_tokens, temperature, top_p, seed, max_memory, compiled=compiled
    )
    cluster = (workers, shard, engine, address, gpus_per_worker)
    many = BatchOptions(glob, fail_fast, retry_failed, overwrite, full_hash, *cluster)
    if is_many(clip):
        if where:
            check_where(request, asked.folder())
        infer_many(clip, request, asked.spec(batch or 0, decoders), many, out, formats, output)
    else:
        many.refuse_single(clip)
        infer_one(request, asked, out, formats, overwrite, output)


def _times(where: bool, at: str | None) -> tuple[float, ...]:
    from crab_core.errors import UsageError

    if at is not None and not where:
        raise UsageError(
            f"--at '{at}' says when to look for boxes, and --where was not given", hint="Give --where too."
        )
    return seconds(at)
