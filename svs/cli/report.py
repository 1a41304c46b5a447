"""`svs report`: the page of all results of the pipeline."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Option

from svs.cli.options import Tuned
from svs.errors import DataError, SettingsError


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
    if output.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise SettingsError(
            f"--output {output}: the report replaces its folder, and can't replace the working directory or one above "
            "it; choose another"
        )
    try:  # now, not after minutes
        tempfile.TemporaryFile(dir=next(place for place in output.absolute().parents if place.exists())).close()
    except OSError as error:
        raise DataError(f"{output}: can't write it ({error.strerror}); choose another --output") from None
    index = build(here.home, here.settings.model_copy(update={"report": chosen}), output)
    common.say(index)
