"""`crab models import`: the files that a model's authors published become a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.output import Output

if TYPE_CHECKING:
    from crab_core.weights.spec import ModelSpec

COMMON = ("name", "out", "quiet", "verbose", "finetune", "tokenizer", "alpha", "sam2")
OWN: Mapping[str, tuple[str, ...]] = {  # the options that only one family takes
    "crab": ("llm", "clip", "beats", "avs", "avss", "bert_config", "positions", "profile", "mask_layers"),
    "crab-plus": ("base", "media", "tables"),
}
NEEDED: Mapping[str, tuple[str, ...]] = {
    "crab": ("llm", "clip", "beats", "finetune"),
    "crab-plus": ("base", "finetune"),
}
CRAB_ALPHA = 16.0


def _path(option: str, metavar: str, help_: str) -> Any:
    return typer.Option(option, metavar=metavar, help=help_, show_default=False)


def import_model(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A model by name.", autocompletion=options.complete_model, show_default=False
        ),
    ],
    llm: Annotated[Path | None, _path("--llm", "DIR", "crab-7b: Llama-2-7b-chat as published.")] = None,
    clip: Annotated[Path | None, _path("--clip", "DIR", "crab-7b: CLIP ViT-L/14 as published.")] = None,
    beats: Annotated[Path | None, _path("--beats", "FILE", "crab-7b: the BEATs checkpoint.")] = None,
    base: Annotated[Path | None, _path("--base", "DIR", "crab-plus-7b: Qwen2.5-Omni-7B as published.")] = None,
    finetune: Annotated[Path | None, _path("--finetune", "FILE", "The model's finetune_weights.bin.")] = None,
    avs: Annotated[Path | None, _path("--avs", "FILE", "crab-7b, avs_finetune_weights.bin: masks.")] = None,
    avss: Annotated[Path | None, _path("--avss", "FILE", "crab-7b, avss_finetune_weights.bin: semantic masks.")] = None,
    sam2: Annotated[
        Path | None, _path("--sam2", "DIR", "SAM 2 as published, to be a part of the folder: masks.")
    ] = None,
    bert_config: Annotated[
        Path | None, _path("--bert-config", "FILE", "crab-7b: config.json of the Q-Formers, if not bert-base's.")
    ] = None,
    tokenizer: Annotated[
        Path | None, _path("--tokenizer", "DIR", "If it is not in the folder of the language model.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="The model folder.", show_default="where --model NAME finds it"
        ),
    ] = None,
    positions: Annotated[
        str, typer.Option("--positions", metavar="train|infer|FILE", help="crab-7b: values that no file holds.")
    ] = "train",
    profile: Annotated[
        Literal["train", "evaluation", "quick-start"],
        typer.Option("--profile", help="crab-7b: wording of the prompts."),
    ] = "train",
    mask_layers: Annotated[
        Literal["14,22", "14,23"], typer.Option("--mask-layers", help="crab-7b: what masks see of CLIP.")
    ] = "14,22",
    media: Annotated[
        Literal["published", "native"],
        typer.Option("--media", help="crab-plus-7b: 10 frames of 224 x 224, or frames in their own shape and time."),
    ] = "published",
    tables: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option("--tables", help="crab-plus-7b: arithmetic of the position tables; trained with bfloat16."),
    ] = "float32",
    alpha: Annotated[
        float | None,
        typer.Option(
            "--alpha",
            metavar="X",
            min=0.01,
            help="Scale of the adapter.",
            show_default="16; crab-plus-7b: twice the rank",
        ),
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make a model folder from the files that a model's authors published.

    Prints the path of the folder. Files are read with nothing in them run; the folder is there complete or not at all.

    \b
    Examples:
      crab models import crab-7b --llm Llama-2-7b-chat-hf --clip clip-vit-large-patch14 \\
        --beats BEATs.pt --finetune finetune_weights.bin --avs avs_finetune_weights.bin
      crab models import crab-plus-7b --base Qwen2.5-Omni-7B --finetune finetune_weights.bin \\
        --sam2 sam2.1-hiera-large
      crab models import crab-plus-7b --base Q --finetune F.bin --media native -o plus
    """
    from crab_core.registry import FAMILIES

    spec = _importable(name)
    _check_options(context, spec)
    folder = out or spec.home()
    release: object
    choices: object
    if spec.family == "crab-plus":
        from crab_core.weights.plus_release import PlusChoices, PlusRelease

        assert base is not None and finetune is not None
        release = PlusRelease(base, finetune, tokenizer, sam2)
        choices = PlusChoices(alpha, media, tables, spec.name)
    else:
        from crab_core.weights.release import Choices, Release

        assert llm is not None and clip is not None and beats is not None and finetune is not None
        release = Release(llm, clip, beats, finetune, avs, avss, bert_config, tokenizer, sam2)
        first, second = mask_layers.split(",")
        choices = Choices(positions, profile, (int(first), int(second)), alpha or CRAB_ALPHA, spec.name)
    with bars(Output(quiet=quiet, verbose=verbose)) as listen:
        FAMILIES[spec.family].load().import_release(release, choices, folder, listen)
    typer.echo(folder)


def _check_options(context: typer.Context, spec: ModelSpec) -> None:
    """Raises UsageError for a file that the model needs and is not given, and for options of another model."""
    from crab_core.errors import UsageError

    given = [name for name in context.params if not _is_default(context, name)]
    strange = [name for name in given if name not in (*COMMON, *OWN[spec.family])]
    if strange:
        raise UsageError(f"model '{spec.name}' takes no {_option(strange[0])}", hint="Leave it out.")
    lacking = [_option(name) for name in NEEDED[spec.family] if name not in given]
    if lacking:
        raise UsageError(
            f"model '{spec.name}' cannot be made without {', '.join(lacking)}",
            hint=f"See what each file is: crab models where {spec.name}",
        )


def _is_default(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is None or source.name.startswith("DEFAULT")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _importable(name: str) -> ModelSpec:
    """The model of that name; raises UsageError if this version imports none of that name."""
    from crab_core.errors import UsageError
    from crab_core.registry import suggest
    from crab_core.weights.catalog import MODELS

    known = [spec.name for spec in MODELS.values() if spec.status == "import it"]
    if name not in known:
        raise UsageError(f"no model called '{name}' can be imported", hint=suggest(name, known, kind="model"))
    return MODELS[name]


def add_to(app: typer.Typer) -> None:
    """Puts the command beside the others of `crab models`."""
    app.command("import")(import_model)
