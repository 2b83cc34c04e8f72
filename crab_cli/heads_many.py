"""`crab visualize-heads` over many clips: what is asked of each, the run, and its page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crab_cli.bars import bars
from crab_cli.batch import plan_of
from crab_cli.output import Output
from crab_core.errors import ResourceError, UsageError
from crab_core.registry import TASKS, lookup
from crab_core.types import Decoding, Request

if TYPE_CHECKING:
    from crab_cli.asked import Asked
    from crab_core.batch.heads import HeadsSurvey
    from crab_core.engine.session import Model

SCHEMA = "crab.heads-survey/1"
DATA, PAGE = "survey.json", "survey.html"


@dataclass(frozen=True, slots=True)
class ManyHeads:
    """How many clips are looked at; the names are those of the options."""

    asked: Asked
    glob: str | None
    ablate: bool
    figures: bool
    overwrite: bool


def heads_of_many(
    source: Path, question: str | None, tasks: str | None, options: ManyHeads, out: Path, output: Output
) -> None:
    """Look at every clip, write the page and its data, tell where they are.

    Raises typer.Exit with 1 if some answers failed and 3 if all did.
    """
    from crab_core.batch.heads import ROWS, survey
    from crab_core.batch.record import model_hash
    from crab_core.engine.heads import inside_of
    from crab_core.weights.folder import read_header

    folder = options.asked.folder()
    header = read_header(folder)
    asked, notes = requests_of(source, question, _chosen(tasks, header.tasks, question), options.glob, out)
    if options.overwrite:
        (out / ROWS).unlink(missing_ok=True)

    def decoding(request: Request) -> Decoding:
        limit = options.asked.max_new_tokens or lookup(TASKS, request.task, kind="task").load().max_new_tokens
        return Decoding(limit, seed=options.asked.seed)

    with bars(output) as listen:

        def start() -> Model:
            model = options.asked.load(listen)
            inside_of(model)
            return model

        given = {name: getattr(options.asked, name) for name in ("dtype", "quantize", "seed", "max_new_tokens")}
        key = {"model": model_hash(folder), **given}
        found = survey(asked, out, start, key, decoding=decoding, ablate=options.ablate, on_progress=listen)
    if found.resumed:
        output.note(f"resumed {found.resumed}/{len(asked)}")
    document = document_of(found, header.name, str(source), notes)
    _write(out, document, figures=options.figures)
    _tell(output, document, out)
    if found.failures:
        raise typer.Exit(1 if found.rows else 3)


def requests_of(
    source: Path, question: str | None, tasks: Sequence[str], glob: str | None, out: Path
) -> tuple[list[Request], list[str]]:
    """Every clip of a folder or list under every task; of a table, its rows as they are. And what is odd about it.

    Raises UsageError for what cannot be asked, InputError if there is no clip.
    """
    from crab_core.batch.manifest import TABLES

    if source.suffix.lower() in TABLES and not source.is_dir():
        first = replace(Request(source, tasks[0] if len(tasks) == 1 else "avqa"), question=question)
        plan = plan_of(source, first, glob, out)
        return [item.request for item in plan.items], list(plan.notes)
    wanted = _wanted(source, question, tasks)
    plan = plan_of(source, wanted[0], glob, out)
    every = [replace(item.request, task=one.task, question=one.question) for item in plan.items for one in wanted]
    return every, list(plan.notes)


def document_of(found: HeadsSurvey, model: str, source: str, notes: Sequence[str]) -> dict[str, Any]:
    """What `survey.json` holds."""
    from crab_core.evaluate.heads_statistics import statistics

    failures = [
        {
            "id": one.request.id or one.request.clip.name,
            "task": one.request.task,
            "stage": one.stage,
            "error": one.error_type,
            "message": one.message,
        }
        for one in found.failures
    ]
    return {
        "schema": SCHEMA,
        "model": model,
        "source": source,
        "heads": found.rows[0].heads if found.rows else 0,
        "statistics": statistics(found.rows),
        "rows": [row.to_dict() for row in found.rows],
        "failures": failures,
        "notes": [*notes, *dict.fromkeys(_shared_notes(found))],
    }


def _shared_notes(found: HeadsSurvey) -> list[str]:
    """Notes that every row has, and what cannot be said with so little."""
    every = [
        note for note in (found.rows[0].notes if found.rows else ()) if all(note in row.notes for row in found.rows)
    ]
    if found.rows and found.rows[0].heads == 1:
        every.append("the model has one head: its share is 1 everywhere, and nothing can specialise")
    silent = sum(row.audio in ("absent", "silent") for row in found.rows)
    return [*every, f"{silent} answers are about clips without sound"] if silent else every


def _chosen(tasks: str | None, trained: Sequence[str], question: str | None) -> list[str]:
    """The tasks of `--task`, or all that the model learnt and that can be asked; raises UsageError for a wrong name."""
    names = [name.strip() for name in tasks.split(",")] if tasks is not None else []
    for name in names:
        lookup(TASKS, name, kind="task")
    if names:
        return list(dict.fromkeys(names))
    usable = [TASKS[name].load() for name in TASKS if not trained or name in trained]
    usable = [task for task in usable if task.chooses is None]
    # a question is no expression of what a mask should show: such tasks are chosen by name
    takes = [task for task in usable if not task.needs_question or (question is not None and task.moment is None)]
    return [task.name for task in takes] or ["avqa"]


def _wanted(source: Path, question: str | None, tasks: Sequence[str]) -> list[Request]:
    """What is asked of each clip; the question goes to the tasks that need one, and one of them must."""
    from crab_core.engine.checks import task_of

    takes = {task: TASKS[task].load().needs_question for task in tasks}
    goes = {task: question if takes[task] or not any(takes.values()) else None for task in tasks}
    wanted = [Request(source / "clip.mp4", task, goes[task]) for task in tasks]
    for one in wanted:
        task_of(one)
    return [replace(one, clip=source) for one in wanted]


def _write(out: Path, document: Mapping[str, Any], *, figures: bool) -> None:
    """The page, its data and its figures; raises ResourceError if one cannot be written."""
    from crab_core.files import replace_file
    from crab_core.render.heads_survey_page import survey_figures, survey_page

    replace_file(out / DATA, json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
    replace_file(out / PAGE, survey_page(document).encode("utf-8", "backslashreplace"))
    if not figures:
        return
    try:
        (out / "figures").mkdir(exist_ok=True)
        for name, content in survey_figures(document):
            (out / "figures" / name).write_bytes(content)
    except OSError as err:
        raise ResourceError(f"cannot write into '{out}': {err.strerror}", hint="Choose another --out.") from err


def _tell(output: Output, document: Mapping[str, Any], out: Path) -> None:
    """The page's path or the data; how far heads and tasks go together as a note."""
    for failure in document["failures"]:
        output.note(f"'{failure['id']}' failed ({failure['stage']}): {failure['message']}")
    for note in document["notes"]:
        output.note(note)
    found = document["statistics"]["specialisation"].get("all")
    if found is not None:
        beyond = "beyond" if found["is_beyond_chance"] else "not beyond"
        bits = found["bits"]
        output.note(
            f"heads tell {bits['value']:.5f} bits ({bits['low']:.5f} to {bits['high']:.5f}) of {found['most']:.2f} "
            f"about the task, {beyond} chance (p {found['p']:.3f})"
        )
    if output.as_json:
        output.document(document)
    else:
        typer.echo(out / PAGE)


def refuse_for_many(given: Mapping[str, bool]) -> None:
    """Raise UsageError for an option that only one clip has."""
    for flag, is_given in given.items():
        if is_given:
            raise UsageError(f"{flag} is for one clip", hint="Give one file, or leave the option out.")
