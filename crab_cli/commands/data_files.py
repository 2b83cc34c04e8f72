"""`crab data check` and `crab data convert`: what is wrong with a data file, and other people's files as ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crab_cli import options
from crab_cli.output import Output
from crab_core.errors import InputError, UsageError

if TYPE_CHECKING:
    from crab_core.data.check import Check, Problem

COLUMNS = ("line", "kind", "problem")
_MOST_TOLD = 5


def check(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", readable=False, help="Data files, such as one a split.", show_default=False),
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", metavar="DIR", help="Where the media are.", show_default="each file's folder"),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option("--labels", metavar="NAME", help="Known labels: ave, llp, world, or a file with one a line."),
    ] = None,
    media: Annotated[bool, typer.Option("--media/--no-media", help="Look at the clips and masks too.")] = True,
    probe: Annotated[bool, typer.Option("--probe", help="Open every clip to compare its length.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="Show at most N problems; 0: all.")] = 100,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """List everything that is wrong with data files, with line numbers; exit code 1 if there is anything.

    Malformed lines, missing media, paths that lead out of the data root, times beyond the clip, empty masks, boxes
    outside the frame, unknown labels, ids told twice, and clips (by name or content) that two splits share.

    \b
    Examples:
      crab data check clips/labels.jsonl
      crab data check train.jsonl test.jsonl --root /data/llp --labels llp
      crab data check train.jsonl --probe --json
    """
    from crab_core.data.check import Check, CheckOptions

    if root is not None and not root.is_dir():
        raise InputError(f"no folder at '{root}'", hint="Give the folder in which the media are.")
    output = Output(quiet=quiet, verbose=verbose, as_json=as_json)
    going = Check(files, root, CheckOptions(_labels(labels), media=media, probe=probe))
    kinds: Counter[str] = Counter()
    shown: list[Problem] = []
    for problem in going.problems():
        kinds[problem.kind] += 1
        if not limit or len(shown) < limit:
            shown.append(problem)
    if not going.lines:
        raise InputError(
            f"'{files[0]}' holds no samples" if len(files) == 1 else f"none of the {len(files)} files holds a sample",
            hint="Write one JSON object a line; docs/data.md shows the keys.",
        )
    _told(going, shown, kinds, output, several=len(files) > 1)
    if kinds:
        raise typer.Exit(1)


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", readable=False, help="Records of AV-UIE: .json, .jsonl or .csv.", show_default=False
        ),
    ],
    task: Annotated[
        str,
        typer.Option("--task", metavar="TASK", help="What the records are for.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The data file to write.", show_default=False)
    ],
    video: Annotated[str, typer.Option("--video", metavar="PATTERN", help="Where clips are: 'clips/{vid}.mp4'.")] = "",
    audio: Annotated[str, typer.Option("--audio", metavar="PATTERN", help="Where sounds are.")] = "",
    mask: Annotated[str, typer.Option("--mask", metavar="PATTERN", help="Where masks are.")] = "",
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="The split of records without one.")] = "",
    strip: Annotated[str, typer.Option("--strip", metavar="PREFIX", help="Taken off the front of paths.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")] = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write records of AV-UIE (of Crab or Crab+) as a data file of our own.

    A pattern names fields of the record in braces; {i} is the second of a picture. Prints the path of the file.

    \b
    Examples:
      crab data convert ave-valid_train_samples.json --task ave -o ave.jsonl --split train
      crab data convert s4_samples.json --task s4 -o s4.jsonl
      crab data convert metadata.csv --task ref-avs -o ref.jsonl
    """
    from crab_core.data.convert import convert as written
    from crab_core.data.layout import Layout

    if out.is_dir():
        raise UsageError(f"'{out}' is a folder", hint=f"Name a file, such as {out / 'data.jsonl'}.")
    if out.exists() and not overwrite:
        raise UsageError(f"'{out}' is there already", hint="Allow replacing it: --overwrite")
    output = Output(quiet=quiet, verbose=verbose)
    made = written(source, task, out, Layout(video, audio, mask, split, strip))
    for bad in made.problems[:_MOST_TOLD]:
        output.note(f"line {bad.line}: {'; '.join(bad.mistakes)}")
    if made.problems:
        output.note(f"{len(made.problems)} of {made.records} records could not be converted")
    output.detail(f"{made.lines} lines of {made.records} records")
    typer.echo(out)
    if made.problems:
        raise typer.Exit(1)


def _labels(name: str | None) -> frozenset[str]:
    """The known labels of a name or a file, empty if none was given; raises InputError for a file that is none."""
    from crab_core.data.sample import label_key
    from crab_core.evaluate.published import AVE_CLASSES, LLP_CLASSES

    if name is None:
        return frozenset()
    if name in ("ave", "llp"):
        known: tuple[str, ...] = AVE_CLASSES if name == "ave" else LLP_CLASSES
    elif name == "world":
        from crab_core.world.labels import CLASS_NAMES

        known = CLASS_NAMES
    else:
        try:
            known = tuple(filter(str.strip, Path(name).read_text(encoding="utf-8").splitlines()))
        except (OSError, ValueError) as err:
            raise InputError(f"no labels at '{name}'", hint="Give ave, llp, world, or a file with one a line.") from err
        if not known:
            raise InputError(f"'{name}' holds no label", hint="Write one label a line.")
    return frozenset(label_key(label) for label in known)


def _told(going: Check, shown: list[Problem], kinds: Counter[str], output: Output, *, several: bool) -> None:
    if output.as_json:
        output.document(
            {
                "schema": "crab.check/1",
                "lines": going.lines,
                "samples": going.samples,
                "annotated": dict(going.annotated),
                "splits": dict(going.splits),
                "kinds": dict(kinds),
                "problems": [
                    {"file": one.file, "line": one.line, "kind": one.kind, "message": one.message} for one in shown
                ],
            }
        )
    else:
        rows = [(f"{one.file}:{one.line}" if several else str(one.line), one.kind, one.message) for one in shown]
        if rows:
            output.rows(COLUMNS, rows)
    total = sum(kinds.values())
    if total > len(shown):
        output.note(f"{total - len(shown)} more problems; show all with --limit 0")
    held = ", ".join(f"{count} {key}" for key, count in going.annotated.items() if count)
    output.note(f"{going.samples} of {going.lines} lines are samples, with {held or 'nothing annotated'}")
    if total:
        output.note(f"{total} problems: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
