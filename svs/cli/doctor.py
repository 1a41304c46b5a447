"""`svs doctor`: what is installed, what is missing, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from svs.cli import options
from svs.cli.options import app


@app.command()
def doctor(
    full: Annotated[bool, typer.Option("--full", help="Load Keras and torch, and name their devices (10 s).")] = False,
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    project: options.ProjectFolder = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """What is installed and what is missing; exit code 1 where a method of params.yaml can't run."""
    from svs.services import doctor as service_doctor

    found = service_doctor.checks(project, full=full)
    if json:
        print(service_doctor.as_json(found))
    elif not quiet:
        print(service_doctor.as_text(found))
    if any(check.fatal for check in found):
        raise typer.Exit(1)
