"""`svs voice` and `svs respiratory`: the voice or the breath in a noisy recording."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from svs.cli.options import OutputOrPipe
from svs.cli.request import Request, split_methods
from svs.cli.separate import run
from svs.config.quality import DEFAULT
from svs.errors import SettingsError

_METHODS = ("repet_sim", "openunmix")  # knowledge-driven and data-driven
_SPEECH = "separate.openunmix.model=umxse"  # open-unmix's model for speech enhancement


@dataclass(kw_only=True)
class Enhancement(Request):
    """The options of both commands: those of `svs separate`, of which the fields without `Annotated` are no options."""

    songs: Annotated[list[str], Argument(metavar="RECORDING", help="Files, folders, patterns, or - (standard input).")]
    methods: Annotated[
        list[str],
        Option("--method", "-m", help="repet_sim (no training) | openunmix (speech model, umxse); again for both."),
    ] = field(default_factory=lambda: ["repet_sim"])
    output: OutputOrPipe = Path("enhanced")
    quality: str = DEFAULT
    device: str = "auto"
    tracks: list[str] = field(default_factory=list)
    wiener: bool = False
    hpss: bool = False
    reference: Path | None = None
    musdb: Path | None = None


def voice(request: Enhancement) -> None:
    """Speech in a noisy recording: OUTPUT/RECORDING/METHOD/{enhanced,residual}, and a picture."""
    _enhance(request, "voice")


def respiratory(request: Enhancement) -> None:
    """Breath sounds in a noisy recording: OUTPUT/RECORDING/METHOD/{enhanced,residual}, and a picture."""
    _enhance(request, "respiratory")


def _enhance(request: Enhancement, name: str) -> None:
    from svs.services.output import ENHANCED

    methods = split_methods(request.methods)
    if unknown := [each for each in methods if each not in _METHODS]:
        raise SettingsError(
            f"{unknown[0]}: `svs {name}` has the methods {' and '.join(_METHODS)}; for songs there is `svs separate`"
        )
    run(replace(request, methods=methods, overrides=[_SPEECH, *request.overrides]), ENHANCED)
