"""`crab bench`: how fast this machine works a folder off, and where the time goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options, options_batch
from crab_cli.bars import bars
from crab_cli.batch import is_many, plan_of
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.batch.bench import Speed


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="CLIPS", help="A folder, a list, a table, or - for stdin.", show_default=False),
    ],
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="What to ask of each.", show_default=False)
    ] = None,
    task: options.TaskName = "avqa",
    clips: Annotated[
        int | None,
        typer.Option("--clips", metavar="N", min=1, help="The first N clips only.", show_default="all"),
    ] = None,
    glob: options_batch.Glob = None,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    seed: options.Seed = 0,
    max_new_tokens: options.MaxNewTokens = None,
    workers: options_batch.Workers = 1,
    batch: options_batch.Batch = None,
    decoders: options_batch.Decoders = 2,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure how many clips a second this machine works off, and how long each stage takes.

    Nothing is written. Stages are summed over the threads that ran them: decoding goes on while the
    network computes, so that together they may be longer than the run. Exits 1 if some clips failed.

    \b
    Examples:
      crab bench clips --task ave
      crab bench clips "What is heard first?" --batch 16 --clips 200
      crab bench clips --task avvp --workers 2 --json > speed.json
    """
    from crab_core.batch.bench import measure
    from crab_core.batch.engine import EngineOptions, start_engine
    from crab_core.batch.worker import WorkerSpec
    from crab_core.engine.device import check_names
    from crab_core.engine.resolve import folder_of
    from crab_core.errors import UsageError
    from crab_core.types import Request

    output = Output(quiet=quiet, verbose=verbose, as_json=json)
    if not is_many(source):
        raise UsageError(f"'{source}' is no folder, list or table of clips", hint="Give one, or - for a list on stdin.")
    check_names(device, dtype, quantize)
    spec = WorkerSpec(
        folder_of(model), device, dtype, quantize, max_new_tokens, seed=seed, batch=batch or 0, decoders=decoders
    )
    plan = plan_of(source, Request(source, task, question), glob, None, spec.model)
    requests = [item.request for item in plan.items][:clips]
    with bars(output) as listen:
        speed = measure(
            requests,
            lambda: start_engine("local", spec, EngineOptions(workers), listen),
            workers=workers,
            listen=listen,
        )
    if json:
        output.document(speed.to_dict())
    else:
        _show(speed, output)
    if speed.failed:
        output.note(f"{speed.failed} of {speed.failed + speed.clips} clips failed")
        raise typer.Exit(1)


def _show(speed: Speed, output: Output) -> None:
    facts = [
        ("clips", str(speed.clips)),
        ("clips/s", f"{speed.clips_per_s:.2f}"),
        ("media s/s", f"{speed.realtime:.1f}"),
        ("seconds", f"{speed.seconds:.2f}"),
        ("load s", f"{speed.load_s:.2f}"),
        ("cores busy", "" if speed.cores is None else f"{speed.cores:.2f}"),
        ("peak MiB", f"{speed.peak_memory_mib:.0f}"),
        ("batch", str(speed.batch)),
        ("workers", str(speed.workers)),
    ]
    output.rows(("what", "value"), facts)
    typer.echo()
    rows = [(s.name, f"{s.total_s:.3f}", f"{s.per_clip_s * 1000:.1f}", f"{s.share:.1%}") for s in speed.stages]
    output.rows(("stage", "total s", "ms a clip", "share"), rows)
