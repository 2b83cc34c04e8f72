"""`crab infer`: one clip, or a folder or list of them; one question or task; one answer each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options, options_batch
from crab_cli.asked import Asked, answered, check_drawn
from crab_cli.bars import bars, spinner
from crab_cli.batch import BatchOptions, infer_many, is_many
from crab_cli.files import planned
from crab_cli.output import Output
from crab_core.types import Decoding, Request, Result


def command(
    clip: options.ManyClips,
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="What you want to know.", show_default=False)
    ] = None,
    task: options.TaskName = "avqa",
    choice: options.Choices = None,
    audio: options.Audio = None,
    require_audio: options.RequireAudio = False,
    window: options.Window = None,
    stride: options.Stride = None,
    reasoning: Annotated[
        bool, typer.Option("--reasoning/--no-reasoning", help="Let the model give its reasons before the answer.")
    ] = True,
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
    """Answer a question about a clip, or find its events.

    The answer goes to stdout; the model's reasons and notes go to stderr. Events are lines of
    start, end, track and label, separated by tabs when stdout is not a terminal.

    Many clips go into --out DIR: results.jsonl, errors.jsonl and run.json; --format adds files for each.
    Run it again to go on where it ended. Exits 1 if some clips failed, 3 if all did.

    --choice names what is to be chosen from: the answers of avqa-options, the two files of a2v and v2a.

    \b
    Examples:
      crab infer band.mp4 "Which instrument is heard first?"
      crab infer street.mp4 --task avvp --json > street.json
      crab infer clips --task ave -o results --workers 2
    """
    from crab_core.engine.checks import draws_masks

    output = Output(quiet=quiet, verbose=verbose, as_json=json, stats=stats)
    request = Request(
        clip,
        task,
        question,
        audio,
        require_audio=require_audio,
        reasoning=reasoning,
        window_s=window,
        stride_s=stride,
        choices=tuple(choice or ()),
    )
    draws = draws_masks(task)
    asked = Asked(
        model,
        device,
        dtype,
        quantize,
        max_new_tokens,
        temperature,
        top_p,
        seed,
        max_memory,
        draws=draws,
        compiled=compiled,
    )
    cluster = (workers, shard, engine, address, gpus_per_worker)
    many = BatchOptions(glob, fail_fast, retry_failed, overwrite, full_hash, *cluster)
    if is_many(clip):
        if draws:
            check_drawn(asked, request)
        infer_many(clip, request, asked.spec(batch or 0, decoders), many, out, formats, output)
    else:
        many.refuse_single(clip)
        infer_one(request, asked, out, formats, overwrite, output)


def infer_one(
    request: Request, asked: Asked, out: Path | None, formats: list[str] | None, overwrite: bool, output: Output
) -> None:
    """Answer about one clip; cheap checks first: a mistake is told before torch is imported and weights are read.

    Raises what the checks, the model and the files raise.
    """
    from crab_core.engine.candidates import probe_each
    from crab_core.engine.checks import check_able, probe_for, task_of
    from crab_core.weights.folder import read_header

    task = task_of(request)
    folder = asked.folder()
    probe = probe_for(request, task)
    check_able(read_header(folder), task)
    if task.compares:
        probe_each(request, task)
    if asked.draws:
        check_drawn(asked, request)
    if request.where:
        check_where(request, folder, probe.duration_s)
    files = planned(out, formats, request.clip, task.produces, overwrite=overwrite)

    with spinner(output, f"loading {folder.name}") as listen:
        loaded = asked.load(listen)
    output.detail(f"loaded in {loaded.load_s:.2f} s")
    tokens = asked.max_new_tokens or task.max_new_tokens
    decoding = Decoding(tokens, asked.temperature, asked.top_p, asked.seed)
    with bars(output) as listen:
        stream = output.stream(task)
        result = answered(loaded, output, lambda: loaded.infer(request, decoding, stream, on_progress=listen))
    output.result(result)  # before the files: a full disk must not cost the answer
    for file in files:
        file.write(result, request.clip)
    refuse_silence(result)


def check_where(request: Request, folder: Path, duration_s: float | None = None) -> None:
    """Refuse boxes that the model cannot find, and for one clip, whose length is given, what it cannot be asked.

    Raises ModelError, AudioMissing, InputError, UsageError.
    """
    from crab_core.engine.checks import probe_for
    from crab_core.engine.moments import moments_of
    from crab_core.engine.placing import placing_task
    from crab_core.weights.folder import read_header

    task = placing_task(read_header(folder))
    if duration_s is not None:
        probe_for(request, task)
        moments_of(request, duration_s)


def refuse_silence(result: Result) -> None:
    """A model that wrote nothing has failed; raises ModelError."""
    from crab_core.errors import ModelError

    if not result.raw_text.strip():
        raise ModelError(
            f"model '{result.model}' wrote nothing about '{result.id}'",
            hint="Ask in other words, or let it choose more freely: --temperature 0.7",
        )
