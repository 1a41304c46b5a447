"""The application, and the options that several commands share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import svs
from svs.runtime.process import log

if TYPE_CHECKING:
    from svs.config.project import Project

app = typer.Typer(
    name="svs",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
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


ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        help="Folder of params.yaml and models/ (default: this one or the nearest above; or $SVS_PROJECT).",
        show_default=False,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-S",
        metavar="KEY=VALUE",
        help="A parameter of params.yaml, for instance separate.repet_sim.reach=20.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.", callback=_quieter)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Everything.", callback=_louder)]
Start = Annotated[float, typer.Option(metavar="SECONDS", help="Where the passage starts.", min=0.0)]
Duration = Annotated[float | None, typer.Option(metavar="SECONDS", help="Its length.", show_default="to the end")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make again what is already there.")]
Weights = Annotated[
    Path | None, typer.Option(help="Folder of pretrained weights (open-unmix, spleeter).", show_default=False)
]
Picture = Annotated[bool, typer.Option("--picture/--no-picture", help="Draw spectrograms of mixture, estimate, mask.")]
Format = Annotated[
    str,
    typer.Option("--format", "-f", metavar="wav|flac|mp3", help="Of the results: wav has 32-bit floats, flac 24 bit."),
]


@contextmanager
def resumable() -> Iterator[None]:
    """Ctrl-C inside ends with a line that says what to do (typer itself leaves without a word)."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted: run the same command again to continue", file=sys.stderr)
        raise typer.Exit(130) from None


def open_project(given: Path | None, overrides: Sequence[str] | None = None) -> Project:
    """The project of a command (`svs.config.project.find_project`), all of its parameters checked.

    Raises
    ------
    SettingsError
        There is none, or a parameter is unknown or impossible.
    """
    from svs import networks, separators
    from svs.config.project import find_project

    project = find_project(given, overrides or ())
    separators.validate(project.settings)
    networks.validate(project.settings)
    return project
