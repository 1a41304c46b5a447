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
from svs.runtime.process import log
from svs.services.enhancement import METHODS, Wanted


@dataclass(kw_only=True)
class Enhancement(Request):
    """The options of both commands: those of `svs separate`, of which the fields without `Annotated` are no options."""

    songs: Annotated[list[str], Argument(metavar="RECORDING", help="Files, folders, patterns, or - (standard input).")]
    methods: Annotated[
        list[str],
        Option("--method", "-m", help=f"{' | '.join(METHODS)}; again for several.", show_default="docs/voice.md"),
    ] = field(default_factory=list)
    output: OutputOrPipe = Path("enhanced")
    quality: str = DEFAULT
    device: str = "auto"
    strength: Annotated[
        float | None,
        Option(min=0.0, max=1.0, help="How much of the residual is taken out.", show_default="1, of breath 0.4"),
    ] = None
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


def _enhance(request: Enhancement, name: Wanted) -> None:
    from svs.services.enhancement import default, overrides
    from svs.services.output import ENHANCED

    methods = split_methods(request.methods)
    if unknown := [each for each in methods if each not in METHODS]:
        raise SettingsError(
            f"{unknown[0]}: `svs {name}` has the methods {', '.join(METHODS)}; for songs there is `svs separate`"
        )
    request = replace(request, overrides=[*overrides(name), *request.overrides])
    here = request.open()
    best = getattr(here.settings.enhance, name).methods[0]
    if not methods:
        methods = [default(name, here.settings, here.home)]
        if methods[0] == best:
            why = "the best in our measurements"
        else:
            why = f"as {best} needs packages that are missing: pip install 'svs[voice]'"
        log.info("by %s, %s; --method chooses another", methods[0], why)
    strength = getattr(here.settings.enhance, name).strength if request.strength is None else request.strength
    run(replace(request, methods=methods, strength=strength), ENHANCED)
