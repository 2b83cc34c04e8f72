"""`crab eval`: the field's own scores of a model, or of any model's predictions, on a data file."""

from __future__ import annotations

import json
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.output import Output
from crab_core.errors import UsageError

if TYPE_CHECKING:
    from crab_core.engine.session import Model
    from crab_core.evaluate.journal import Journal
    from crab_core.evaluate.report import Line, Report
    from crab_core.evaluate.run import Evaluated, ModelSource

COLUMNS = ("score", "value", "low", "high", "paper", "rows", "clips")


def command(
    task: Annotated[
        str,
        typer.Option(
            "--task",
            metavar="TASK",
            help="What is scored, such as avqa or s4.",
            autocompletion=options.complete_task,
            show_default=False,
        ),
    ],
    data: Annotated[
        Path,
        typer.Option("--data", metavar="FILE", help="Annotated clips as JSON lines.", show_default=False),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME",
            help="A model by name, or its folder.",
            autocompletion=options.complete_model,
            show_default="mini",
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="RESULTS.jsonl", help="Score these instead of asking a model.", show_default=False
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the media are.", show_default="the data file's folder"),
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Only the lines of this split.")] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Also write the scores, and what a model said, here; a killed run goes on from it.",
        ),
    ] = None,
    as_json: options.Json = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables.")] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    masks: options.Masks = "auto",
    sam2: options.Sam2 = None,
    max_memory: options.MaxMemory = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Score a model, or the predictions of any model, with the field's own metrics.

    Each score has a 95 % interval by drawing clips with replacement, the Crab paper's number and trivial baselines.
    With --out an answer is on disk before the next question, and the same command goes on after a kill. docs/eval.md
    tells the formulas, docs/data.md the keys of both files.

    \b
    Examples:
      crab eval --task avqa --data clips/labels.jsonl
      crab eval --task ave --data clips/labels.jsonl --model mini --json
      crab eval --task s4 --data s4.jsonl --predictions results.jsonl --latex
    """
    from crab_core.engine.checks import draws_masks
    from crab_core.engine.drawing import check_source
    from crab_core.evaluate.run import check_task, evaluate

    if as_json and as_latex:
        raise UsageError("--json and --latex cannot go together", hint="Give one of them.")
    if model is not None and predictions is not None:
        raise UsageError("--model and --predictions cannot go together", hint="Give one of them.")
    check_task(task)
    check_source(masks, sam2)
    _check(data, root, out)
    output = Output(quiet=quiet, verbose=verbose, as_json=as_json)
    with bars(output) as listen:
        if predictions is not None:
            from crab_core.evaluate.predictions import Predictions

            found = evaluate(task, data, Predictions(predictions, task), root or data.parent, split=split)
        else:
            from crab_core.engine.session import load
            from crab_core.evaluate.run import ModelSource

            asked = load(
                model or "mini",
                device=device,
                dtype=dtype,
                quantize=quantize,
                max_memory=max_memory,
                masks=masks,
                sam2=sam2,
                draws=draws_masks(task),
                on_progress=listen,
            )
            journal = None if out is None else _journal(out, asked, task, data, root or data.parent, split)
            if journal:
                output.note(f"resumed: {len(journal)} answers are in '{out}' already")
            source = ModelSource(asked, on_progress=listen, journal=journal)
            with closing(journal) if journal is not None else nullcontext():
                found = evaluate(task, data, source, root or data.parent, split=split, on_progress=listen)
            if out is not None:
                _write_results(source, out)
    if out is not None:
        _write_scores(found.report, out)
    _print(found, output, as_latex=as_latex)


def _check(data: Path, root: Path | None, out: Path | None) -> None:
    """Raises for a file that is none and folders that cannot be used, before a model is loaded."""
    from crab_core.errors import InputError

    if not data.is_file():
        raise InputError(f"no data file at '{data}'", hint="Give a file of JSON lines; docs/data.md shows one.")
    if root is not None and not root.is_dir():
        raise InputError(f"no folder at '{root}'", hint="Give the folder in which the media are.")
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"'{out}' is a file", hint="Name a folder for the scores.")


def _print(found: Evaluated, output: Output, *, as_latex: bool) -> None:
    if output.as_json:
        output.document({**found.report.to_dict(), "notes": list(found.notes)})
    elif as_latex:
        typer.echo("\n".join(table.to_latex() for table in found.report.tables), nl=False)
    else:
        several = len(found.report.tables) > 1
        for table in found.report.tables:
            named = list(dict.fromkeys(name for line in table.lines for name in line.baselines))
            output.rows(
                [*COLUMNS, *named], [_cells(line, named, f"{table.title}: " if several else "") for line in table.lines]
            )
    for text in found.notes:
        output.note(text)


def _cells(line: Line, baselines: list[str], title: str) -> tuple[str, ...]:
    numbers = [line.score.value, line.score.low, line.score.high, line.paper]
    numbers += [line.baselines[name].value if name in line.baselines else None for name in baselines]
    shown = ["" if number is None else f"{number:.4f}" for number in numbers]
    return title + line.name, *shown[:4], str(line.score.rows), str(line.score.clips), *shown[4:]


def _write_scores(report: Report, out: Path) -> None:
    from crab_core.errors import ResourceError
    from crab_core.evaluate.report import write_report

    try:
        write_report(report, out)
        (out / "metrics.tex").write_text("\n".join(table.to_latex() for table in report.tables), encoding="utf-8")
    except OSError as err:
        raise ResourceError(f"cannot write into '{out}': {err.strerror}", hint="Choose another --out.") from err


def _journal(out: Path, model: Model, task: str, data: Path, root: Path, split: str) -> Journal:
    """Where answers are kept as they come, by everything that they depend on."""
    from crab_core.evaluate.journal import Journal
    from crab_core.weights.folder import sha256_of

    precision = model.precision
    return Journal(
        out,
        {
            "task": task,
            "data": sha256_of(data),
            "root": str(root.resolve()),
            "split": split,
            "model": {name: fact.sha256 for name, fact in sorted(model.header.files.items())},
            "profile": model.header.profile,
            "precision": [precision.device, precision.dtype, precision.quantize],
            "masker": None if model.masker is None else model.masker.name,
        },
    )


def _write_results(source: ModelSource, out: Path) -> None:
    from crab_core.errors import ResourceError

    try:
        out.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(result.to_dict(), ensure_ascii=False) + "\n" for result in source.results)
        (out / "results.jsonl").write_text(lines, encoding="utf-8")
    except OSError as err:
        raise ResourceError(f"cannot write into '{out}': {err.strerror}", hint="Choose another --out.") from err
