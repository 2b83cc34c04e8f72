"""`crab models`: what can be loaded, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.commands import models_files
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.weights.folder import Header
    from crab_core.weights.spec import ModelSpec

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _root() -> None:
    """List models, tell about them, fetch and import published ones."""


models_files.add_to(app)


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


def _path(option: str, metavar: str, help_: str) -> Any:
    return typer.Option(option, metavar=metavar, help=help_, show_default=False)


@app.command("import")
def import_model(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A model by name.", autocompletion=options.complete_model, show_default=False
        ),
    ],
    llm: Annotated[Path, _path("--llm", "DIR", "Llama-2-7b-chat as published.")],
    clip: Annotated[Path, _path("--clip", "DIR", "CLIP ViT-L/14 as published.")],
    beats: Annotated[Path, _path("--beats", "FILE", "The BEATs checkpoint.")],
    finetune: Annotated[Path, _path("--finetune", "FILE", "finetune_weights.bin of Crab.")],
    avs: Annotated[Path | None, _path("--avs", "FILE", "avs_finetune_weights.bin: masks.")] = None,
    avss: Annotated[Path | None, _path("--avss", "FILE", "avss_finetune_weights.bin: semantic masks.")] = None,
    bert_config: Annotated[
        Path | None, _path("--bert-config", "FILE", "config.json of the Q-Formers, if not bert-base's.")
    ] = None,
    tokenizer: Annotated[Path | None, _path("--tokenizer", "DIR", "If it is not in the --llm folder.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="The model folder.", show_default="where --model NAME finds it"
        ),
    ] = None,
    positions: Annotated[
        str, typer.Option("--positions", metavar="train|infer|FILE", help="Values that no published file holds.")
    ] = "train",
    profile: Annotated[
        Literal["train", "evaluation", "quick-start"], typer.Option("--profile", help="Wording of the prompts.")
    ] = "train",
    mask_layers: Annotated[
        Literal["14,22", "14,23"], typer.Option("--mask-layers", help="What masks see of CLIP.")
    ] = "14,22",
    alpha: Annotated[float, typer.Option("--alpha", metavar="X", min=0.01, help="Scale of the adapter.")] = 16.0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make a model folder from the files that a model's authors published.

    Prints the path of the folder. Files are read with nothing in them run; the folder is there complete or not at all.

    \b
    Examples:
      crab models import crab-7b --llm Llama-2-7b-chat-hf --clip clip-vit-large-patch14 \\
        --beats BEATs.pt --finetune finetune_weights.bin
      crab models import crab-7b --llm L --clip C --beats B.pt --finetune F.bin --avs A.bin -o crab
      crab models import crab-7b --llm L --clip C --beats B.pt --finetune F.bin --positions infer
    """
    from crab_core.registry import FAMILIES
    from crab_core.weights.release import Choices, Release

    spec = _importable(name)
    folder = out or spec.home()
    release = Release(llm, clip, beats, finetune, avs, avss, bert_config, tokenizer)
    first, second = mask_layers.split(",")
    choices = Choices(positions, profile, (int(first), int(second)), alpha, spec.name)
    with bars(Output(quiet=quiet, verbose=verbose)) as listen:
        FAMILIES[spec.family].load().import_release(release, choices, folder, listen)
    typer.echo(folder)


def _importable(name: str) -> ModelSpec:
    """The model of that name; raises UsageError if this version imports none of that name."""
    from crab_core.errors import UsageError
    from crab_core.registry import suggest
    from crab_core.weights.catalog import MODELS

    known = [spec.name for spec in MODELS.values() if spec.status == "import it"]
    if name not in known:
        raise UsageError(f"no model called '{name}' can be imported", hint=suggest(name, known, kind="model"))
    return MODELS[name]


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
    from crab_core.engine.memory import parameters_of
    from crab_core.weights.folder import read_header

    header: Header = read_header(folder)
    return {
        "name": header.name,
        "family": header.family,
        "licence": header.licence,
        "tasks": list(header.tasks),
        "folder": str(folder),
        "parameters": sum(parameters_of(folder / file) for file in header.files if file.endswith(".safetensors")),
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
