"""`svs doctor`: what is installed, what is missing, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from svs.cli.options import Common


def doctor(
    common: Common,
    full: Annotated[bool, Option("--full", help="Load Keras and torch, and name their devices (10 s).")] = False,
    json: Annotated[bool, Option("--json", help="Print JSON.")] = False,
) -> None:
    """What is installed and what is missing; exit code 1 if a method of wiring.yaml can't run."""
    from svs.services import doctor as service

    found = service.checks(common.project, full=full)
    if json:
        print(service.as_json(found))
    else:
        common.say(service.as_text(found))
    if any(check.fatal for check in found):
        raise typer.Exit(1)
