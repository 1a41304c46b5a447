"""Separation methods by name.

A method is one file in this folder: its options, a `Separator`, and `METHODS`, which names what it offers.  Every such
file is found by itself, and every network of `svs.networks` that predicts a mask is a method as well.  A line in
`wiring.yaml` gives a method its stages in the pipeline.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from svs.config.schema import Group, Settings, merge, parsed
from svs.errors import ModelError, SettingsError
from svs.networks import Network, networks
from svs.separators.method import Kind, Method

if TYPE_CHECKING:
    from svs.separators.base import Separator


@cache
def methods() -> dict[str, Method]:
    """Every method, by kind and in the order of its file."""
    found = {name: _of_a_network(network) for name, network in networks().items() if network.about}
    for module in pkgutil.iter_modules(__path__):
        if module.name != "spleeter_worker":  # a program for another environment
            found |= getattr(import_module(f"{__name__}.{module.name}"), "METHODS", {})
    kinds = list(Kind)
    return dict(sorted(found.items(), key=lambda item: (kinds.index(item[1].kind), -item[1].recommended)))


def _of_a_network(network: Network) -> Method:
    code = import_module(f"{__name__}.{'unet_separator' if network.on_mixtures else 'cnn'}")
    return Method(
        Kind.NET, network.about, code.Options, code.build, "" if network.on_mixtures else "cnn", network.recommended
    )


def of_kind(*kinds: Kind) -> tuple[str, ...]:
    """Names of the methods of some kinds."""
    return tuple(name for name, method in methods().items() if method.kind in kinds)


def of_group(group: str) -> tuple[str, ...]:
    """Names of the methods that share a group of parameters."""
    return tuple(name for name, method in methods().items() if method.group == group)


def find_method(name: str) -> Method:
    """The method of a name.

    Raises
    ------
    SettingsError
        There is none.
    """
    if name not in methods():
        raise SettingsError(f"{name}: no such method; expected one of {', '.join(methods())}")
    return methods()[name]


def options(name: str, settings: Settings) -> Group:
    """The options of a method, validated.

    Raises
    ------
    SettingsError
        There is no such method, an option is unknown, or its value is impossible.
    """
    method, given = find_method(name), settings.separate.of(name)
    if method.group and isinstance(given, dict):
        given = merge(settings.separate.of(method.group), given)
    return parsed(method.options, f"separate.{name}", given)


def validate(settings: Settings) -> None:
    """Check the options of all methods, so that a mistake is told before anything runs.

    Raises
    ------
    SettingsError
        As `options`; or a group of `separate` belongs to no method.
    """
    shared = {method.group for method in methods().values()}
    for name in settings.separate.model_extra or {}:
        if name not in shared:
            options(name, settings)


def build(name: str, settings: Settings, home: Path = Path()) -> Separator:
    """A separation method, ready to use.

    Parameters
    ----------
    name : str
        One of `methods`.
    settings : Settings
        `methods` says what each method needs (`models/NAME` where it has no line there).
    home : Path
        The folder that those paths are relative to: that of `params.yaml`.

    Raises
    ------
    SettingsError
        There is no method of that name, or its options are impossible.
    ModelError
        It needs a trained model that is not there.
    UnavailableError
        It needs pretrained weights, or an environment, that can't be had.
    """
    return find_method(name).build(name, options(name, settings), home / needs(name, settings), settings)


def default(settings: Settings, home: Path = Path()) -> str:
    """The method where none is named: the most recommended net that is trained.

    Raises
    ------
    ModelError
        Not one of them is.
    """
    preferred = recommended()
    for name in preferred:
        if (home / needs(name, settings) / "model.keras").is_file():
            return name
    raise ModelError(
        f"neither {' nor '.join(preferred)} is trained in {home.resolve()}: `dvc repro "
        f"train@{preferred[0]}` trains it; or name a method that needs no training: --method repet_sim"
    )


def recommended() -> tuple[str, ...]:
    """The methods that are taken where none is named, the best one first."""
    return tuple(name for name, method in methods().items() if method.recommended)


def needs(name: str, settings: Settings) -> Path:
    """What a method waits for: a trained model, weights, the store, or just its own code."""
    if name in settings.methods:
        return settings.methods[name].needs
    return Path("models/weights" if name in of_kind(Kind.PRETRAINED) else "models") / name
