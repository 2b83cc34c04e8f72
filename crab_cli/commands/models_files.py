"""`crab models pull|quantize|verify|where`: the files of a model, published, packed, on this machine or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.commands.models_calibrate import calibrate
from crab_cli.commands.models_domain import domain
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.weights.spec import ModelSpec, Source

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A model by name.", autocompletion=options.complete_model, show_default=False),
]
NameOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A model by name, or its folder.",
        autocompletion=options.complete_model,
        show_default=False,
    ),
]


def pull(
    name: Name,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ROLE", help="This source alone: llm, clip, … (repeatable).")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Fetch the published files of a model from the hub, with sha256; prints where each lies.

    Goes on where a pull was cut off. HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean elsewhere.

    \b
    Examples:
      crab models pull crab-7b
      crab models pull crab-7b --only beats --only clip
      crab models pull crab-7b --only llm --verbose
    """
    from crab_core.weights.catalog import MASKERS
    from crab_core.weights.pull import pull as fetch

    spec = _with_sources(name)
    roles = _roles(spec, only or [])
    output = Output(quiet=quiet, verbose=verbose)
    with bars(output) as listen:
        found = fetch(spec, roles, listen)
    output.rows(("role", "path"), [(source.role or source.repository, str(path)) for source, path in found])
    words = " ".join(f"--{source.role} '{path}'" for source, path in found if source.role)
    if spec.name in MASKERS:
        output.note(f"next: crab segment CLIP --masks {spec.name}")
    elif spec.status == "import it" and not roles:
        output.note(f"next: crab models import {spec.name} {words}")


def quantize(
    folder: NameOrFolder,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The packed folder.", show_default=False)],
    bits: Annotated[Literal["4bit", "8bit"], typer.Option("--bits", help="How the language model is packed.")] = "4bit",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Write a model folder again with its language model in 4 or 8 bits; prints the new folder.

    The new folder answers as the old one does with --quantize, and loads without packing anew.

    \b
    Examples:
      crab models quantize crab-7b -o crab-4bit
      crab models quantize runs/mini/model --bits 8bit -o mini-8bit
      crab models quantize mini -o mini-4bit --quiet
    """
    from crab_core.engine.resolve import folder_of
    from crab_core.registry import FAMILIES, lookup
    from crab_core.weights.folder import read_header

    source = folder_of(folder)
    family = lookup(FAMILIES, read_header(source).family, kind="family").load()
    with bars(Output(quiet=quiet, verbose=verbose)) as listen:
        family.quantize_folder(source, bits, out, listen)
    typer.echo(out)


def verify(name: NameOrFolder, json: options.Json = False) -> None:
    """Compare every file of a model with its sha256: of its folder, and of the files pulled for it.

    \b
    Examples:
      crab models verify mini
      crab models verify crab-7b
      crab models verify runs/mini/model --json
    """
    from crab_core.engine.resolve import folder_of
    from crab_core.weights.catalog import MASKERS, MODELS
    from crab_core.weights.folder import verify as verify_folder
    from crab_core.weights.pull import verify_pulled

    spec = MODELS.get(name) or MASKERS.get(name)
    rows: list[tuple[str, str, str]] = []
    if spec is not None:
        rows += [(path, fact.sha256, fact.told_by) for path, fact in verify_pulled(spec)]
    if spec is None or spec.embedded is not None or (spec.home() / "crab.json").is_file() or not rows:
        folder = folder_of(name)
        header = verify_folder(folder)
        rows += [(str(folder / file), fact.sha256, "crab.json") for file, fact in header.files.items()]
    _tell(rows, ("file", "sha256", "told by"), as_json=json)


def where(name: NameOrFolder, json: options.Json = False) -> None:
    """Tell where a model's folder and its published files lie, and where to get those that are not here.

    \b
    Examples:
      crab models where mini
      crab models where crab-7b
      crab models where crab-7b --json
    """
    from crab_core.engine.resolve import folder_of
    from crab_core.weights.catalog import MASKERS, MODELS
    from crab_core.weights.pull import where as places

    spec = MODELS.get(name) or MASKERS.get(name)
    if spec is None or spec.embedded is not None:
        _tell([(str(folder_of(name)), "here", "")], ("file", "state", "from"), as_json=json)
        return
    made = (spec.home() / "crab.json").is_file()
    rows: list[tuple[str, str, str]] = []
    if name not in MASKERS:  # what draws masks is used as it was published
        rows.append((str(spec.home()), "here" if made else "not imported", spec.status))
    for source, file, path in places(spec):
        size = f"{file.gigabytes:.2f} GB" if file.gigabytes else ""
        facts = [source.repository, size, "gated" if source.gated else "", source.licence, source.note]
        rows.append((str(path or file.name), "here" if path else "not pulled", ", ".join(filter(None, facts))))
    _tell(rows, ("file", "state", "from"), as_json=json)


def _tell(rows: list[tuple[str, str, str]], names: tuple[str, str, str], *, as_json: bool) -> None:
    output = Output(as_json=as_json)
    if as_json:
        output.document([dict(zip((name.replace(" ", "_") for name in names), row, strict=True)) for row in rows])
    else:
        output.rows(names, rows)


def _with_sources(name: str) -> ModelSpec:
    """The model of that name; raises UsageError if there is none or nothing is fetched for it."""
    from crab_core.errors import UsageError
    from crab_core.registry import suggest
    from crab_core.weights.catalog import MASKERS, MODELS

    every = {**MODELS, **MASKERS}
    known = [spec.name for spec in every.values() if spec.sources]
    if name in MODELS and name not in known:
        raise UsageError(f"there is nothing to pull for '{name}': its weights are in this package")
    if name not in known:
        raise UsageError(f"no model called '{name}' can be pulled", hint=suggest(name, known, kind="model"))
    return every[name]


def _roles(spec: ModelSpec, asked: list[str]) -> tuple[str, ...]:
    from crab_core.errors import UsageError
    from crab_core.registry import suggest

    known = [source.role for source in spec.sources if source.role]
    for role in asked:
        if role not in known:
            raise UsageError(f"'{spec.name}' has no source called '{role}'", hint=suggest(role, known, kind="source"))
    return tuple(asked)


def source_facts(source: Source) -> dict[str, Any]:
    """What the catalogue says of a source, for `crab models info`."""
    return {
        "repository": source.repository,
        "role": source.role,
        "licence": source.licence,
        "gated": source.gated,
        "note": source.note,
        "files": [
            {
                "name": file.name,
                "gigabytes": file.gigabytes,
                "sha256": file.sha256 or "compared with the hub's, else recorded at the first pull",
                "mirrors": ["/".join(place) for place in file.mirrors],
            }
            for file in source.files
        ],
    }


def add_to(app: typer.Typer) -> None:
    """Puts the commands beside the others of `crab models`."""
    for command in (calibrate, domain, pull, quantize, verify, where):
        app.command(command.__name__)(command)
