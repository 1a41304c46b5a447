"""The application, and the options that several commands share.

`command` makes a typer command of a function whose first parameter is a dataclass.
It stands for several options: one for each field that is `Annotated`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field
from importlib.util import find_spec
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_origin, get_type_hints

import typer
from typer import Option
from typer.models import ArgumentInfo, OptionInfo

import svs
from svs.config.quality import QUALITIES
from svs.errors import SVSError
from svs.runtime.process import log

if TYPE_CHECKING:
    from svs.config.project import Project
    from svs.config.schema import Settings

app = typer.Typer(
    name="svs",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),  # the dissertation wrote --frame_size
    },
    help="Singing voice separation: take songs apart into vocals and accompaniment.",
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        print(svs.__version__)
        raise typer.Exit


Musdb = Annotated[
    Path | None,
    Option(
        help="Folder of a data set (MUSDB18, or any that `svs inspect` takes).", show_default="the project's data set"
    ),
]
Start = Annotated[float, Option(metavar="SECONDS", help="Where the passage starts.", min=0.0)]
Duration = Annotated[float | None, Option(metavar="SECONDS", help="Its length.", show_default="to the end")]
Output = Annotated[Path, Option("--output", "-o", help="Folder of the results.")]
OutputOrPipe = Annotated[
    Path, Option("--output", "-o", help="Folder of the results; - writes the one --stem to standard output.")
]
Overwrite = Annotated[bool, Option("--overwrite", help="Make existing results again.")]
Weights = Annotated[Path | None, Option(help="Folder of pretrained weights (open-unmix, spleeter).")]
PICTURES = find_spec("matplotlib") is not None  # of the extra `pictures`
Picture = Annotated[
    bool,
    Option("--picture/--no-picture", help="Draw spectrograms; needs svs[pictures]."),
]
Stream = Annotated[
    int | None,
    Option(
        min=0,
        metavar="N",
        help="Of several audio streams the one with this number, counted from 0, as ffmpeg does.",
        show_default="the one that players take",
    ),
]
Format = Annotated[
    str, Option("--format", "-f", metavar="wav|flac|mp3|ogg|opus|m4a", help="Of the results (ogg: Vorbis, m4a: AAC).")
]
BitDepth = Annotated[
    str | None,
    Option(metavar="16|24|float", help="Of wav, and of flac, which has no float.", show_default="wav float, flac 24"),
]
Bitrate = Annotated[
    int | None,
    Option(metavar="KBIT/S", help="Of lossy formats.", show_default="mp3 320, opus 192, m4a 256, ogg about 256"),
]
Name = Annotated[
    str,
    Option(help="Of the files of a result in the output folder, by {song}, {method} and {stem}; / begins a folder."),
]
Device = Annotated[
    str, Option(metavar="auto|cpu|cuda|...", help="What networks run on; auto: the fastest one that is here.")
]
Quality = Annotated[
    str,
    Option(
        metavar="|".join(QUALITIES),
        help="How often spleeter, spleeter_finetuned and unet_separator hear a song, each time at another pitch. "
        "By spleeter_finetuned, "
        f"with the SDR of the vocals: {'; '.join(f'{name} {kind}' for name, kind in QUALITIES.items())}.",
    ),
]
Clip = Annotated[
    str,
    Option(
        metavar="rescale|clamp|error",
        help="Samples beyond full scale, except in a float wav: scale both files by one factor, cut them, or fail.",
    ),
]


def tuned(*names: str, **settings: Any) -> OptionInfo:
    """An option whose default is a parameter of params.yaml."""
    return Option(*names, show_default="params.yaml", **settings)


@dataclass(kw_only=True)
class Common:
    """The options of every command."""

    project: Annotated[
        Path | None,
        Option(help="Folder of params.yaml and models/ (default: this one or the nearest above; or $SVS_PROJECT)."),
    ] = None
    overrides: list[str] = field(default_factory=list)
    quiet: Annotated[bool, Option("-q", help="Only errors.")] = False
    verbose: Annotated[bool, Option("-v", help="Debug messages too.")] = False

    def __post_init__(self) -> None:
        if self.quiet or self.verbose:
            log.setLevel(logging.DEBUG if self.verbose else logging.ERROR)

    def open(self, before: Sequence[str] = (), after: Sequence[str] = ()) -> Project:
        """The project, all of its parameters checked: `before`, those of --set, `after`; the later ones win.

        Raise SettingsError if there is none, or a parameter is unknown or impossible.
        """
        from svs import networks, separators
        from svs.config.project import find_project

        def check(settings: Settings) -> None:
            separators.validate(settings)
            networks.validate(settings)

        try:
            return find_project(self.project, [*before, *self.overrides, *after], check)
        except SVSError as error:
            if any(str(error).startswith(f"{override}: ") for override in self.overrides):
                raise type(error)(f"-S {error}") from None
            raise

    def say(self, text: object) -> None:
        """Print a result, unless --quiet."""
        if not self.quiet:
            print(text)


@dataclass(kw_only=True)
class Tuned(Common):
    """The options of a command that takes parameters by --set."""

    overrides: Annotated[
        list[str],
        Option(
            "--set", "-S", metavar="KEY=VALUE", help="A parameter of params.yaml, such as separate.repet_sim.reach=20."
        ),
    ] = field(default_factory=list)


def assignments(section: str, **values: Any) -> list[str]:
    """Values as parameters of a section, `SECTION.KEY=VALUE`; None is left out."""
    return [f"{section}.{key}={value!r}" for key, value in values.items() if value is not None]


def musdb_folder(here: Project, given: Path | None) -> Path:
    """The folder of the data set that --musdb names, or the project's data set."""
    from svs.config import paths
    from svs.data import locate

    return given if given is not None else locate.locate_present(here.settings, here.path(paths.DATASETS))


def complain(error: object, *about: str) -> None:
    """Print an error in one line: first what it is about, unless its message says that."""
    said = [part for part in about if part and part not in str(error)]
    print(": ".join(["error", *said, str(error)]), file=sys.stderr)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Prepare a function for typer: its first parameter, a dataclass, is replaced by the options that it holds."""
    group, *own = inspect.signature(function, eval_str=True).parameters.values()
    options = parameters(group.annotation)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        held = {option.name: given.pop(option.name) for option in options}
        function(group.annotation(**held), **given)

    run.__annotations__ = {}
    own = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in own]
    run.__dict__["__signature__"] = inspect.Signature([*own, *options])
    return run


def parameters(kind: type) -> list[Parameter]:
    """The fields of a dataclass that are `Annotated`, as keyword parameters; those of every command are last.

    An argument or option without a (long) name of its own is called after its field.
    """
    hints, common = get_type_hints(kind, include_extras=True), {each.name for each in dataclasses.fields(Common)}
    found = []
    for each in sorted(dataclasses.fields(kind), key=lambda field: field.name in common):
        if get_origin(hint := hints[each.name]) is Annotated:
            if isinstance(info := hint.__metadata__[0], ArgumentInfo):
                info.metavar, info.case_sensitive = info.metavar or each.name.upper(), False
            elif not str(info.default).startswith("--"):  # typer keeps the first name of an option there
                info.param_decls = () if info.default is ... else (info.default,)
                info.default = f"--{each.name.replace('_', '-')}"
            default = Parameter.empty if each.default is MISSING else each.default
            if each.default_factory is not MISSING:
                default = each.default_factory()
            found.append(Parameter(each.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint))
    return found
