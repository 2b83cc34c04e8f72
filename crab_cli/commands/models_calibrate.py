"""`crab models calibrate`: decide by samples what a release of weights leaves open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crab_cli import options
from crab_cli.bars import bars
from crab_cli.output import Output


def calibrate(
    folder: Annotated[
        str,
        typer.Argument(metavar="FOLDER", help="An imported model: its folder or its name.", show_default=False),
    ],
    samples: Annotated[
        Path, typer.Option("--samples", metavar="FILE", help="The release's example.json.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Score, and leave the folder as it is.")] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quantize: options.Quantize = "none",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Score wordings, layers of CLIP and position matrices on samples, and write the best into the model's header.

    Prints every choice with its mean IoU, the best first. The header changes if one is better than its own.

    \b
    Examples:
      crab models calibrate crab-7b --samples data/example.json
      crab models calibrate crab --samples data/example.json --dry-run
      crab models calibrate crab --samples data/example.json --quantize 4bit --json
    """
    from crab_core.engine.calibrate import calibrate as score
    from crab_core.engine.calibrate import read_samples
    from crab_core.engine.resolve import folder_of

    output = Output(quiet=quiet, verbose=verbose, as_json=json)
    found, others = read_samples(samples)
    place = folder_of(folder)
    from crab_core.engine.session import load
    from crab_core.registry import FAMILIES

    with bars(output) as listen:
        model = load(place, device=device, dtype=dtype, quantize=quantize, on_progress=listen)
        family = FAMILIES[model.header.family].load()
        scored = score(model, family, found, listen)
    if others:
        output.note(f"{others} samples without a mask were left out")
    own = family.choices(model.network, model.header)[0]
    rows = [
        (one.choice.profile, ",".join(map(str, one.choice.layers)), one.choice.positions, f"{one.iou:.4f}")
        for one in scored
    ]
    names = ("profile", "mask_layers", "positions", "iou")
    if json:
        output.document([dict(zip(names, row, strict=True)) for row in rows])
    else:
        output.rows(names, rows)
    if scored[0].choice == own:
        output.note("the header has the best choice already")
    elif not dry_run:
        family.write_choice(place, scored[0].choice)
        output.note(f"written into '{place}': {', '.join(rows[0][:3])}")
