"""The application, and the options that several commands share."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

import svs
from svs.running import log

app = typer.Typer(
    name="svs", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Singing voice separation: take songs apart into vocals and accompaniment.",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        print(svs.__version__)
        raise typer.Exit


def _quieter(value: bool) -> bool:
    if value:
        log.setLevel(logging.ERROR)
    return value


def _louder(value: bool) -> bool:
    if value:
        log.setLevel(logging.DEBUG)
    return value


Project = Annotated[Path | None, typer.Option(
    "--project", help="Folder of params.yaml and models/ (default: this one or the nearest above; or $SVS_PROJECT).",
    show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option(
    "--set", "-S", metavar="KEY=VALUE", help="A parameter of params.yaml, for instance separate.repet_sim.reach=20.",
    show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", callback=_quieter)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Everything.", callback=_louder)]
Start = Annotated[float, typer.Option(help="Where the passage starts, in seconds.", min=0.0)]
Duration = Annotated[float | None, typer.Option(help="Its length in seconds (default: to the end).",
                                                show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make again what is already there.")]
Weights = Annotated[Path | None, typer.Option(
    help="Folder of pretrained weights (open-unmix, spleeter).", show_default=False)]
Picture = Annotated[bool, typer.Option("--picture/--no-picture", help="Draw spectrograms of mixture, estimate, mask.")]
Format = Annotated[str, typer.Option("--format", "-f", help="wav (32-bit float) | flac (24 bit) | mp3.")]
