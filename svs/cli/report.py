"""`svs report`: the page of all results, from what the pipeline has left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svs.cli import options
from svs.cli.options import app


@app.command()
def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the page; an older report is replaced.")
    ] = Path("report"),
    audio: Annotated[
        str | None,
        typer.Option(
            metavar="all|generated|none",
            show_default="report.audio of params.yaml",
            help="Whose audio goes into it: all test tracks, only songs that svs itself has made (the others' licences "
            "forbid publishing them), or none.",
        ),
    ] = None,
    project: options.ProjectFolder = None,
    overrides: options.Overrides = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Make the page that the pipeline makes, in any folder, from what the pipeline has left.

    It opens from disk, asks for nothing from anywhere, and can be put on any web server.
    """
    from svs.config import schema
    from svs.report.build import build

    here = options.open_project(project, overrides or [])
    chosen = schema.changed(here.settings.report, "report", audio=audio)
    index = build(here.home, here.settings.model_copy(update={"report": chosen}), output)
    if not quiet:
        print(index)
