"""The options of `svs separate`, by flags or by the menu."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from svs.cli import options
from svs.config.paths import NAME
from svs.config.quality import DEFAULT, parameters
from svs.errors import SettingsError

if TYPE_CHECKING:
    from svs.config.project import Project

DEFAULT_METHOD = "spleeter_finetuned, which comes with svs"  # the first of `svs.separators.recommended`


@dataclass(kw_only=True)
class Request(options.Tuned):
    """The options of `svs separate`."""

    songs: Annotated[
        list[str],
        Argument(metavar="SONG", help="Audio or video files, folders, patterns like '*.mp3', or - (standard input)."),
    ] = field(default_factory=list)
    tracks: Annotated[
        list[str],
        Option(
            "--track", "-t", help="A test track of the data set, or a part of its name; its stems are the reference."
        ),
    ] = field(default_factory=list)
    methods: Annotated[
        list[str],
        Option(
            "--method",
            "-m",
            help="A method of `svs methods`, or several joined by + for their mean; again, or with commas, for more.",
            show_default=DEFAULT_METHOD,
        ),
    ] = field(default_factory=list)
    quality: options.Quality = DEFAULT
    device: options.Device = "auto"
    output: options.OutputOrPipe = Path("separated")
    name: options.Name = NAME
    stem: Annotated[
        str | None,
        Option(metavar="NAME", help="Write only this one of the two files, by its name."),
    ] = None
    start: options.Start = 0.0
    duration: options.Duration = None
    stream: options.Stream = None
    wiener: Annotated[bool, Option("-w", help="Multichannel Wiener filter (methods cnn_*).")] = False
    hpss: Annotated[bool, Option(help="Drop percussion from the vocals (methods cnn_*).")] = False
    codec: options.Format = "wav"
    bit_depth: options.BitDepth = None
    bitrate: options.Bitrate = None
    clip: options.Clip = "rescale"
    reference: Annotated[Path | None, Option("-r", help="The true vocals of the one song: scores, and oracles.")] = None
    musdb: options.Musdb = None
    weights: options.Weights = None
    overwrite: options.Overwrite = False
    picture: options.Picture = options.PICTURES
    strength: float | None = None  # an option of `svs voice`

    @property
    def piped(self) -> bool:
        """Whether the result goes to standard output."""
        return str(self.output) == "-"

    def command(self) -> str:
        """The command line that asks for the same."""
        words = [
            "svs",
            "separate",
            *(f"./{song}" if song.startswith("-") and song != "-" else song for song in self.songs),
        ]
        for option in options.parameters(Request):
            value, flag = getattr(self, option.name), option.annotation.__metadata__[0].default
            if option.name == "songs" or (value == option.default and option.name != "output"):
                continue
            if isinstance(value, bool):
                words.append(flag.split("/")[-1])  # of --picture/--no-picture the second one
            elif isinstance(value, list):
                words += [word for each in value for word in (flag, each)]
            else:
                words += [flag, f"{value:.10g}" if isinstance(value, float) else str(value)]
        return shlex.join(words)

    def open(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> Project:
        """As `Common.open`, with the parameters that --quality, --wiener, --hpss and --weights stand for."""
        quality = parameters(self.quality)
        flags = options.assignments("separate.cnn", wiener=1 if self.wiener else None, hpss=self.hpss or None)
        return super().open([*quality, *flags, *weights_as_parameters(self.weights), *before], after)


def weights_as_parameters(folder: Path | None) -> list[str]:
    """The parameters that --weights stands for."""
    if folder is None:
        return []
    quoted = json.dumps(str(folder.expanduser().resolve()), ensure_ascii=False)  # also a string of YAML
    return [f"methods.{method}.needs={quoted}" for method in ("openunmix", "spleeter")]


def split_methods(given: Sequence[str]) -> list[str]:
    """Methods of `--method a --method b,c`, each once."""
    names = [name.strip() for text in given for name in text.split(",")]
    if not all(names):
        raise SettingsError(f"--method {','.join(given)!r}: expected names of methods; `svs methods` lists them")
    return list(dict.fromkeys(names))
