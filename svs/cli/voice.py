"""`svs voice` and `svs respiratory`: the voice or the breath in a noisy recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from svs.cli import options
from svs.cli.options import app
from svs.cli.separate import Request, run, split_methods
from svs.errors import SettingsError

_METHODS = ("repet_sim", "openunmix")  # knowledge-driven and data-driven
_SPEECH = "separate.openunmix.model=umxse"  # open-unmix's model for speech enhancement

_Recordings = Annotated[list[str], typer.Argument(metavar="RECORDING", help="Files, folders or patterns.")]
_Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-m",
        help="repet_sim (needs no training) | openunmix (its speech model, umxse); again for both.",
        show_default="repet_sim",
    ),
]


def _command(name: str, what: str) -> None:
    """Make the command `svs NAME`."""

    @app.command(
        name, help=f"{what} in a noisy recording: OUTPUT/RECORDING/METHOD/{{enhanced,residual}}, and a picture."
    )
    def command(
        recordings: _Recordings,
        method: _Method = None,
        output: options.Output = Path("enhanced"),
        start: options.Start = 0.0,
        duration: options.Duration = None,
        codec: options.Format = "wav",
        weights: options.Weights = None,
        overwrite: options.Overwrite = False,
        picture: options.Picture = True,
        project: options.ProjectFolder = None,
        overrides: options.Overrides = None,
        quiet: options.Quiet = False,
        verbose: options.Verbose = False,
    ) -> None:
        from svs.services.recordings import ENHANCED

        methods = split_methods(method or ["repet_sim"])
        if unknown := [each for each in methods if each not in _METHODS]:
            raise SettingsError(
                f"{unknown[0]}: `svs {name}` has the methods {' and '.join(_METHODS)}; "
                "for songs there is `svs separate`"
            )
        request = Request(
            songs=recordings,
            methods=methods,
            output=output,
            start=start,
            duration=duration,
            codec=codec,
            weights=weights,
            overwrite=overwrite,
            picture=picture,
            project=project,
            overrides=[_SPEECH, *(overrides or [])],
        )
        if code := run(request, ENHANCED):
            raise typer.Exit(code)


_command("voice", "Speech")
_command("respiratory", "Breath sounds")
