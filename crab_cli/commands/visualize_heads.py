"""`crab visualize-heads`: one answer or many, and what each LoRA head had to do with them, as a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crab_cli import options, options_batch
from crab_cli.asked import Asked
from crab_cli.bars import bars, spinner
from crab_cli.batch import is_many
from crab_cli.heads_ablation import NamedHeads, heads_told, tell_ablations
from crab_cli.heads_files import ARRAYS, DATA, PAGE, VIDEO, check_free, check_video, write_heads_video, write_report
from crab_cli.heads_many import ManyHeads, heads_of_many, refuse_for_many
from crab_cli.output import Output
from crab_core.errors import UsageError
from crab_core.registry import TASKS
from crab_core.types import Decoding, Request

if TYPE_CHECKING:
    from crab_core.engine.heads_report import HeadReport

MethodName = Literal["attention", "gradient", "share"]


def command(
    clip: Annotated[
        Path,
        typer.Argument(
            metavar="CLIP",
            parser=options.a_path,
            help="A video, a sound or a picture file; or many: a folder, a list (.txt), a table (.csv, .tsv, .jsonl).",
            show_default=False,
        ),
    ],
    question: Annotated[
        str | None, typer.Argument(metavar="[QUESTION]", help="What you want to know.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the report goes.")] = Path("heads"),
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help=f"What to do: {', '.join(TASKS)}. Many clips: several with commas.",
            show_default="avqa; many clips: all",
            autocompletion=options.complete_task,
        ),
    ] = None,
    audio: options.Audio = None,
    method: Annotated[
        MethodName,
        typer.Option("--method", help="What makes a token count: attention to it, its gradient, or only the share."),
    ] = "attention",
    ablate: Annotated[
        bool, typer.Option("--ablate/--no-ablate", help="Also answer without each head and with each alone.")
    ] = True,
    drop_head: Annotated[
        list[int] | None,
        typer.Option("--drop-head", metavar="N", help="Also answer without head N, from 1; together if repeated."),
    ] = None,
    only_head: Annotated[
        list[int] | None,
        typer.Option("--only-head", metavar="N", help="Also answer with head N only; together if repeated."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Also hide what the maps call relevant, and see what that costs.")
    ] = False,
    figures: Annotated[bool, typer.Option("--figures", help="Also write figures for papers, SVG and PNG.")] = False,
    video: Annotated[
        bool, typer.Option("--video", help="Also write heads.mp4: the clip under each head's maps, with its sound.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Keep the weights of every router and token in the npz.")] = False,
    glob: options_batch.Glob = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a report that is there.")] = False,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    max_memory: options.MaxMemory = None,
    seed: options.Seed = 0,
    max_new_tokens: options.MaxNewTokens = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Show what each LoRA head looks at and listens to for one answer.

    Writes one self-contained page, heads.html, and its data, heads.json and heads.npz. Prints the
    path of the page. A map is the relevance of a query token to the answer x the head's share at that
    token x the query's cross-attention over patches; all maps of all heads together make 1.

    Many clips are looked at under every task: survey.html shows which task uses which head, and
    survey.json and heads.jsonl hold the numbers. Run it again to go on where it ended.

    \b
    Examples:
      crab visualize-heads band.mp4 "Which instrument is heard first?" -o heads --drop-head 1
      crab visualize-heads street.mp4 --task avvp -o street --figures --video
      crab visualize-heads clips "What is heard first?" -o survey
    """
    output = Output(quiet=quiet, verbose=verbose, as_json=json)
    asked = Asked(model, device, dtype, quantize, max_new_tokens, 0.0, 1.0, seed, max_memory)
    if is_many(clip):
        is_given = {"--audio": audio is not None, "--check": check, "--raw": raw, "--video": video}
        is_given |= {"--method": method != "attention", "--drop-head": bool(drop_head), "--only-head": bool(only_head)}
        refuse_for_many(is_given)
        many = ManyHeads(asked, glob, ablate, figures, overwrite)
        return heads_of_many(clip, question, task, many, out, output)
    if glob is not None:
        raise UsageError(f"--glob is for many clips, got '{clip}'", hint="Give a folder.")
    request = Request(clip, task or "avqa", question, audio)
    named = NamedHeads(tuple(drop_head or ()), tuple(only_head or ()))
    one = OneHeads(request, asked, method, ablate, named, check, figures, video, raw, overwrite)
    return _heads_of_one(one, out, output)


@dataclass(frozen=True, slots=True)
class OneHeads:
    """One clip and how it is looked at; the names are those of the options."""

    request: Request
    model: Asked
    method: str
    ablate: bool
    named: NamedHeads
    check: bool
    figures: bool
    video: bool
    raw: bool
    overwrite: bool


def _heads_of_one(asked: OneHeads, out: Path, output: Output) -> None:
    """Look at one clip; cheap checks first: a mistake is told before torch is imported and weights are read."""
    from crab_core.engine.checks import probe_for, task_of

    request = asked.request
    task = task_of(request)
    folder = asked.model.folder()
    found = probe_for(request, task)
    asked.named.check(heads_told(folder))
    if asked.video:
        check_video(found)
    check_free(out, (PAGE, DATA, ARRAYS, *([VIDEO] if asked.video else [])), overwrite=asked.overwrite)

    from crab_core.engine.heads import HeadOptions, inside_of

    with spinner(output, f"loading {folder.name}") as listen:
        loaded = asked.model.load(listen)
    asked.named.check(inside_of(loaded).heads)
    seen = loaded.look(request.clip, request.audio_path, request.task)
    decoding = Decoding(asked.model.max_new_tokens or task.max_new_tokens, seed=asked.model.seed)
    options = HeadOptions(asked.method, asked.ablate, asked.raw, asked.check, *asked.named.from_0())
    with bars(output) as listen:
        report = seen.heads(request.question, request.task, options, decoding, on_progress=listen)
    document = report.to_dict()
    write_report(out, report, document, figures=asked.figures)
    if asked.video:
        with bars(output) as listen:
            notes = write_heads_video(out / VIDEO, found, request, report, document, listen)
        for note in notes:
            output.note(note)
    _tell(output, report, document, out)


def _tell(output: Output, report: HeadReport, document: Mapping[str, Any], out: Path) -> None:
    """The page's path, or the data; the ablation table beside it, the shares by kind of token as details."""
    answer = report.result.answer
    output.note(f"answer: {(answer.text if answer is not None else '') or '(none)'}")
    for kind, shares in report.by_kind.items():
        output.detail(f"{kind}: " + ", ".join(f"head {head + 1} {share:.2f}" for head, share in enumerate(shares)))
    for text in (*report.result.notes, *report.notes):
        output.note(text)
    tell_ablations(output, document)
    if output.as_json:
        output.document(document)
    else:
        typer.echo(out / PAGE)
