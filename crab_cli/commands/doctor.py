"""`crab doctor`: is everything there that a run needs?"""

from __future__ import annotations

from typing import Annotated

import typer

from crab_cli import options
from crab_cli.output import Output


def command(
    full: Annotated[bool, typer.Option("--full", help="Also import bitsandbytes, which takes seconds.")] = False,
    model: options.ModelName = "mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    json: options.Json = False,
) -> None:
    """Say what is installed, what will be used, and what is wrong.

    One line a check: ok, warn or fail. Exits 0 without a fail, else with the code of the first one:
    2 packages, 3 media, 4 model, 5 device.

    \b
    Examples:
      crab doctor
      crab doctor --full --device cuda:0
      crab doctor --json > doctor.json
    """
    from crab_cli.checkup import checkup

    output = Output(as_json=json)
    findings = list(checkup(model, device, dtype, full=full))
    if json:
        output.document([finding.to_dict() for finding in findings])
    else:
        output.rows(("state", "check", "found"), [(f.state, f.name, f.found) for f in findings])
    failed = [finding for finding in findings if finding.state == "fail"]
    if failed:
        raise typer.Exit(failed[0].exit_code)
