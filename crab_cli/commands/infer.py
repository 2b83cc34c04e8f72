"""`crab infer`: one clip, or a folder or list of them; one question or task; one answer each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options, options_batch
from crab_cli.bars import spinner
from crab_cli.batch import BatchOptions, infer_many, is_many
from crab_cli.files import planned, write
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.types import Result


def command(
    clip: Annotated[
        Path,
        typer.Argument(
            metavar="CLIP",
            parser=options.a_path,
            help="A video, a sound or a picture file; or many: a folder, a list (.txt, or - for stdin), a table "
            "(.csv, .tsv, .jsonl).",
            show_default=False,
        ),
    ],
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="What you want to know.", show_default=False)
    ] = None,
    task: options.TaskName = "avqa",
    audio: Annotated[
        Path | None,
        typer.Option("--audio", metavar="FILE", parser=options.a_path, help="Take the sound from this file instead."),
    ] = None,
    require_audio: Annotated[bool, typer.Option("--require-audio", help="Fail if there is no sound.")] = False,
    reasoning: Annotated[
        bool, typer.Option("--reasoning/--no-reasoning", help="Let the model give its reasons before the answer.")
    ] = True,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
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
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Answer a question about a clip, or find its events.

    The answer goes to stdout; the model's reasons and notes go to stderr. Events are lines of
    start, end, track and label, separated by tabs when stdout is not a terminal.

    Many clips go into --out DIR: results.jsonl, errors.jsonl and run.json; --format adds files for each.
    Run it again to go on where it ended. Exits 1 if some clips failed, 3 if all did.

    \b
    Examples:
      crab infer band.mp4 "Which instrument is heard first?"
      crab infer street.mp4 --task avvp --json > street.json
      crab infer clips --task ave -o results --workers 2
    """
    from crab_core.engine.checks import probe_for, task_of
    from crab_core.engine.device import check_names
    from crab_core.engine.resolve import folder_of
    from crab_core.types import Decoding, Request

    output = Output(quiet=quiet, verbose=verbose, as_json=json)
    request = Request(clip, task, question, audio, require_audio=require_audio, reasoning=reasoning)
    cluster = (workers, shard, engine, address, gpus_per_worker)
    many = BatchOptions(glob, fail_fast, retry_failed, overwrite, full_hash, *cluster)
    if is_many(clip):
        from crab_core.batch.worker import WorkerSpec

        check_names(device, dtype, quantize)
        sampling = (max_new_tokens, temperature, top_p, seed)
        spec = WorkerSpec(folder_of(model), device, dtype, quantize, *sampling, batch or 0, decoders)
        infer_many(clip, request, spec, many, out, formats, output)
        return
    many.refuse_single(clip)
    # cheap checks first: a mistake is told before torch is imported and weights are read
    chosen = task_of(request)
    check_names(device, dtype, quantize)
    folder = folder_of(model)
    probe_for(request, chosen)
    files = planned(out, formats, clip)
    decoding = Decoding(max_new_tokens or chosen.max_new_tokens, temperature, top_p, seed)

    from crab_core.engine.session import load

    with spinner(output, f"loading {folder.name}") as listen:
        loaded = load(folder, device=device, dtype=dtype, quantize=quantize, on_progress=listen)
    output.detail(f"loaded in {loaded.load_s:.2f} s")
    result = loaded.infer(request, decoding, output.stream(chosen))
    for path in files:
        write(result, path)
    output.result(result)
    refuse_silence(result)


def refuse_silence(result: Result) -> None:
    """A model that wrote nothing has failed; raises ModelError."""
    from crab_core.errors import ModelError

    if not result.raw_text.strip():
        raise ModelError(
            f"model '{result.model}' wrote nothing about '{result.id}'",
            hint="Ask in other words, or let it choose more freely: --temperature 0.7",
        )
