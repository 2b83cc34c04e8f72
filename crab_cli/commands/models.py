"""`crab models`: what can be loaded, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crab_cli import options
from crab_cli.commands import models_files, models_import
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.weights.folder import Header
    from crab_core.weights.spec import ModelSpec

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """List models, tell about them, fetch and import published ones."""


models_files.add_to(app)
models_import.add_to(app)


@app.command("list")
def list_models(json: options.Json = False) -> None:
    """List every model that has a name: name, state, tasks, what it is.

    \b
    Examples:
      crab models list
      crab models list --json
      crab models list | cut -f1
    """
    from crab_core.weights.catalog import MODELS

    output = Output(as_json=json)
    if json:
        output.document([_spec_facts(spec) for spec in MODELS.values()])
        return
    rows = [(spec.name, spec.status, " ".join(spec.tasks), spec.summary) for spec in MODELS.values()]
    output.rows(("name", "state", "tasks", "summary"), rows)


@app.command("info")
def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A model by name, or its folder.",
            autocompletion=options.complete_model,
            show_default=False,
        ),
    ],
    json: options.Json = False,
) -> None:
    """Tell what is known of a model: sources, licence, size, training.

    \b
    Examples:
      crab models info mini
      crab models info crab-7b --json
      crab models info runs/mini/model
    """
    facts = _facts(name)
    output = Output(as_json=json)
    if json:
        output.document(facts)
    else:
        told = {key: value for key, value in facts.items() if key != "files" and value not in ("", [], {})}
        output.rows(("what", "found"), [(key, _shown(value)) for key, value in told.items()])


def _facts(name: str) -> dict[str, Any]:
    """What the catalogue and, if it is on this machine, the model folder say."""
    from crab_core.engine.resolve import folder_of
    from crab_core.weights.catalog import MODELS

    spec = MODELS.get(name)
    if spec is None:
        return _folder_facts(folder_of(name))
    if spec.embedded is None and not (spec.home() / "crab.json").is_file():
        return _spec_facts(spec, full=True)
    return {**_spec_facts(spec, full=True), **_folder_facts(spec.folder())}


def _spec_facts(spec: ModelSpec, full: bool = False) -> dict[str, Any]:
    return {
        "name": spec.name,
        "family": spec.family,
        "state": spec.status,
        "summary": spec.summary,
        "licence": spec.licence,
        "tasks": list(spec.tasks),
        "memory_gib": dict(spec.memory_gib),
        "scores": dict(spec.scores),
        "paper": spec.paper,
        "sources": list(dict.fromkeys(source.repository for source in spec.sources)),
        "files": [models_files.source_facts(source) for source in spec.sources] if full else [],
    }


def _folder_facts(folder: Path) -> dict[str, Any]:
    from crab_core.engine.memory import parameters_of, totals_of
    from crab_core.weights.folder import DOMAIN, read_header

    header: Header = read_header(folder)
    weights = [file for file in header.files if file.endswith(".safetensors") and file != DOMAIN]
    return {
        "name": header.name,
        "family": header.family,
        "licence": header.licence,
        "parts": {name: dict(told) for name, told in header.parts.items()},
        "tasks": list(header.tasks),
        "folder": str(folder),
        "parameters": sum(parameters_of(folder / file) for file in weights),
        "needs_gib": {name: float(f"{bytes_ / 2**30:.3g}") for name, bytes_ in totals_of(folder, header).items()},
        "bytes": sum(fact.bytes for fact in header.files.values()),
        "sha256": {file: fact.sha256 for file, fact in header.files.items()},
        "note": header.note,
        "training": dict(header.training),
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
