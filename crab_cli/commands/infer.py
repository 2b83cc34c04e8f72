"""`crab infer`: one clip, one question or task, one answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options
from crab_cli.bars import spinner
from crab_cli.files import planned, write
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.types import Result


def command(
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A video, a sound or a picture file.", show_default=False)
    ],
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="What you want to know.", show_default=False)
    ] = None,
    task: options.TaskName = "avqa",
    audio: Annotated[
        Path | None, typer.Option("--audio", metavar="FILE", help="Take the sound from this file instead.")
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
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Answer a question about a clip, or find its events.

    The answer goes to stdout; the model's reasons and notes go to stderr. Events are lines of
    start, end, track and label, separated by tabs when stdout is not a terminal.

    \b
    Examples:
      crab infer band.mp4 "Which instrument is heard first?"
      crab infer street.mp4 --task avvp --json > street.json
      crab infer photo.jpg "Is the dog barking?" --audio yard.wav
    """
    from crab_core.engine.checks import probe_for, task_of
    from crab_core.engine.device import check_names
    from crab_core.engine.resolve import folder_of
    from crab_core.types import Decoding, Request

    output = Output(quiet=quiet, verbose=verbose, as_json=json)
    request = Request(clip, task, question, audio, require_audio=require_audio, reasoning=reasoning)
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
