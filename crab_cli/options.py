"""The options that mean the same in every command, declared once, and what completes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from crab_core.registry import TASKS, WRITERS


def complete_task(incomplete: str) -> Iterator[tuple[str, str]]:
    """Task names with what they do."""
    return ((name, entry.summary) for name, entry in TASKS.items() if name.startswith(incomplete))


def complete_model(incomplete: str) -> Iterator[tuple[str, str]]:
    """Catalogue names with what they are."""
    from crab_core.weights.catalog import MODELS

    return ((name, spec.summary) for name, spec in MODELS.items() if name.startswith(incomplete))


def a_number(value: float) -> float:
    """The value, unless it is `nan`, which lies in every range; raises what Typer raises for a bad value."""
    if value != value:
        raise typer.BadParameter("nan is not a number")
    return value


def maybe_a_number(value: float | None) -> float | None:
    """The value, unless it is `nan`; None stays None."""
    return None if value is None else a_number(value)


def a_path(text: str | Path) -> Path:
    """The path, unless it is empty, which would be the current folder; raises what Typer raises for a bad value."""
    if not str(text):
        raise typer.BadParameter("the path is empty")
    return Path(text)


ModelName = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="NAME", help="A model by name, or its folder.", autocompletion=complete_model
    ),
]
TaskName = Annotated[
    str, typer.Option("--task", metavar="TASK", help=f"What to do: {', '.join(TASKS)}.", autocompletion=complete_task)
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
DtypeName = Literal["auto", "float32", "bfloat16", "float16"]
Dtype = Annotated[DtypeName, typer.Option("--dtype", help="Numbers to compute with.")]
QuantizeName = Literal["none", "4bit", "8bit"]
Quantize = Annotated[QuantizeName, typer.Option("--quantize", help="Hold the language model in fewer bits.")]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory",
        metavar="SIZE",
        help="Most that the model may take, such as 6GiB.",
        show_default="what is free",
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile/--no-compile",
        help="Compile the step that writes a token: slower to begin, quicker for long answers.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Same seed, same answer.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", min=1, max=4096, help="Longest answer in tokens.", show_default="by task"
    ),
]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature",
        metavar="X",
        min=0.0,
        max=10.0,
        callback=a_number,
        help="0 takes the likeliest word; more varies.",
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        metavar="X",
        min=0.01,
        max=1.0,
        callback=a_number,
        help="Choose among the likeliest words of this share.",
    ),
]
ManyClips = Annotated[
    Path,
    typer.Argument(
        metavar="CLIP",
        parser=a_path,
        help="A video, a sound or a picture file; or many: a folder, a list (.txt, or - for stdin), a table "
        "(.csv, .tsv, .jsonl).",
        show_default=False,
    ),
]
Audio = Annotated[
    Path | None,
    typer.Option("--audio", metavar="FILE", parser=a_path, help="Take the sound from this file instead."),
]
Choices = Annotated[
    list[str] | None,
    typer.Option("--choice", metavar="TEXT|FILE", help="Choose among these: give it once each.", show_default=False),
]
Masks = Annotated[
    Literal["auto", "own", "sam2"],
    typer.Option("--masks", help="Who draws masks: the model's own decoder, or SAM 2 from the boxes that it tells."),
]
Sam2 = Annotated[
    Path | None,
    typer.Option(
        "--sam2",
        metavar="DIR",
        parser=a_path,
        help="A folder of SAM 2.",
        show_default="that of the model, else the pulled one",
    ),
]
RequireAudio = Annotated[bool, typer.Option("--require-audio", help="Fail if there is no sound.")]
StatsFlag = Annotated[
    bool, typer.Option("--stats", help="Also tell what each part took, tokens a second and peak memory; one clip only.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes, no progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also say what was chosen and how long it took.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Also write the result into this folder.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help=f"What --out gets: {', '.join(WRITERS)} or all; may be repeated.",
        show_default="json",
    ),
]
Window = Annotated[
    float | None,
    typer.Option(
        "--window",
        metavar="SECONDS",
        min=1.0,
        callback=maybe_a_number,
        help="Look for events in windows of this length.",
        show_default="what the model knows",
    ),
]
Stride = Annotated[
    float | None,
    typer.Option(
        "--stride",
        metavar="SECONDS",
        min=0.1,
        callback=maybe_a_number,
        help="Begin a window every so often.",
        show_default="half a window",
    ),
]
