"""`svs models` and `svs fetch`: trained networks, where they lie, and how to get or copy them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from svs.cli.options import Tuned, command
from svs.errors import SettingsError

app = typer.Typer(name="models", help="Trained networks: which there are, where they lie, fetch or copy one.")
Name = Annotated[str, Argument(help="A network of `svs models list`.")]
_FETCHED = ["spleeter"]


def list_(common: Tuned) -> None:
    """Every network: whether it is here, its size, where it lies, and what it was trained on."""
    from svs.services import models

    found = models.models(common.open())
    column = max(len(model.name) for model in found)
    for model in found:
        size = f"{model.size / 1e6:.1f} MB" if model.files else ""
        print(f"{model.name:<{column}}  {'ready  ' if model.files else 'missing'}  {size:>8}  {model.path}")
        print(f"{'':<{column}}  {model.about}{'' if model.files else f'; {model.advice}'}")


def fetch(
    common: Tuned,
    names: Annotated[list[str] | None, Argument(metavar="[NAME]...", help="By default spleeter.")] = None,
    source: Annotated[
        str | None,
        Option(
            "--from", metavar="REPO[@REV]", help="A repository of svs whose trained networks to fetch, through DVC."
        ),
    ] = None,
) -> None:
    """Download published weights, so that `svs separate` needs no internet later; or another repository's networks."""
    from svs.services import models, repositories

    if source and not names:
        raise SettingsError(f"--from {source}: name the networks to fetch, for instance `unet_separator`")
    here = common.open()
    for name in names or _FETCHED:
        model = repositories.fetch(name, here, source) if source else models.fetch(name, here)
        common.say(f"{name}: {model.path} ({model.size / 1e6:.1f} MB)")


def path(common: Tuned, name: Name) -> None:
    """Print where a network lies."""
    from svs.services import models

    print(models.present(name, common.open()).path)


def export(
    common: Tuned,
    name: Name,
    folder: Annotated[Path, Argument(help="A folder that does not exist yet.")],
    eight_bits: Annotated[
        bool, Option("--8-bits", help="Keep the weights in 8 bits: a fourth of the size, to run and not to train on.")
    ] = False,
    trained_on: Annotated[
        str | None, Option(help="What the network's card says of its training: the music, and its terms.")
    ] = None,
) -> None:
    """Copy a network, for another machine or project: put the folder there as models/NAME."""
    from svs.services import models

    model = models.export(name, common.open(), folder, eight_bits=eight_bits, trained_on=trained_on)
    common.say(f"{folder}: {', '.join(file.name for file in model.files)} ({model.size / 1e6:.1f} MB)")


for _function in (list_, fetch, path, export):
    app.command(_function.__name__.rstrip("_"))(command(_function))
