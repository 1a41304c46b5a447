"""`svs report`: the page of all results of the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from svs.cli.options import Tuned


def report(
    common: Tuned,
    output: Annotated[Path, Option("--output", "-o", help="Folder of the page; replaces an older report.")] = Path(
        "report"
    ),
    audio: Annotated[
        str | None,
        Option(
            metavar="all|generated|none",
            show_default="report.audio of params.yaml",
            help="Whose audio goes into it: all test tracks, only songs that svs itself has made (the others' licences "
            "forbid publishing them), or none.",
        ),
    ] = None,
) -> None:
    """Make the page of all results, as the pipeline does, in any folder.

    It opens from disk, needs no internet, and can be put on any web server.
    """
    from svs.config import schema
    from svs.report.build import build

    here = common.open()
    chosen = schema.changed(here.settings.report, "report", audio=audio)
    index = build(here.home, here.settings.model_copy(update={"report": chosen}), output)
    common.say(index)
