"""Separation methods by name.

A method is one file in this folder: its options, a `Separator`, and `METHODS`, which lists what the file offers.  The
registry finds every such file.  Every network of `svs.networks` that predicts a mask is a method too.  A line in
`wiring.yaml` gives a method its stages in the pipeline.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from svs.config.project import find_model
from svs.config.schema import Group, Settings, merge, parsed
from svs.errors import ModelError, SettingsError
from svs.networks import Network, networks
from svs.separators.method import Kind, Method

if TYPE_CHECKING:
    from svs.separators.base import Separator


@cache
def methods() -> dict[str, Method]:
    """Every method by name, ordered by kind."""
    found = {name: _of_a_network(network) for name, network in networks().items() if network.about}
    for module in pkgutil.iter_modules(__path__):
        found |= getattr(import_module(f"{__name__}.{module.name}"), "METHODS", {})
    kinds = list(Kind)
    return dict(sorted(found.items(), key=lambda item: (kinds.index(item[1].kind), -item[1].recommended)))


def _of_a_network(network: Network) -> Method:
    group = "" if network.on_mixtures else "cnn"
    code = import_module(f"{__name__}.{group or 'unet_separator'}")
    return Method(Kind.NET, network.about, code.Options, code.build, group, network.recommended, on_device=True)


def of_kind(*kinds: Kind) -> tuple[str, ...]:
    """Names of the methods of some kinds."""
    return tuple(name for name, method in methods().items() if method.kind in kinds)


def of_group(group: str) -> tuple[str, ...]:
    """Names of the methods that share a group of parameters."""
    return tuple(name for name, method in methods().items() if method.group == group)


def find_method(name: str) -> Method:
    """The method of a name; raises SettingsError if there is none."""
    if name not in methods():
        raise SettingsError(f"{name}: no such method; expected one of {', '.join(methods())}")
    return methods()[name]


def members(name: str) -> list[str]:
    """The methods of an ensemble, `NAME+NAME`, or the one method of a name; raises SettingsError if there is none."""
    names = name.split("+")
    for each in names:
        find_method(each)
    return names


def options(name: str, settings: Settings) -> Group:
    """The options of a method, validated.

    Raises
    ------
    SettingsError
        No method has this name, an option is unknown, or its value is impossible.
    """
    method, given = find_method(name), settings.separate.of(name)
    if method.group and isinstance(given, dict):
        given = merge(settings.separate.of(method.group), given)
    return parsed(method.options, f"separate.{name}", given)


def validate(settings: Settings) -> None:
    """Check the options of all methods before anything runs; raises as `options`."""
    shared = {method.group for method in methods().values()}
    for name in settings.separate.model_extra or {}:
        if name not in shared:
            options(name, settings)


def build(name: str, settings: Settings, home: Path = Path(), device: str = "auto") -> Separator:
    """A separation method, ready to use.

    Parameters
    ----------
    name : str
        One of `methods`, or several joined by `+` for the mean of their estimates.
    settings : Settings
    home : Path
        The folder of `params.yaml`, to which paths are relative.
    device : str
        Of networks: "auto", or one of `svs.networks.inference.devices`.  Other methods run on the CPU.

    Raises
    ------
    SettingsError
        No method has this name, or its options are impossible.
    ModelError
        Its trained model is missing.
    UnavailableError
        Its pretrained weights or its environment are missing and can't be downloaded, or there is no such device.
    """
    # Imported by name, as methods are: the stages that only list methods do not depend on it.
    if device != "auto":
        import_module("svs.networks.inference").check_device(device)
    if len(several := members(name)) > 1:
        return import_module(f"{__name__}.chunking").Ensemble(
            name, [build(each, settings, home, device) for each in several]
        )
    method = find_method(name)
    chosen = {"device": device} if method.on_device else {}
    return method.build(name, options(name, settings), find_model(home, needs(name, settings)), settings, **chosen)


def default(settings: Settings, home: Path = Path(), *, fetch: bool = False) -> str:
    """The method if the user names none: the first of `recommended` whose weights are available.

    Parameters
    ----------
    settings : Settings
    home : Path
        As of `build`.
    fetch : bool
        Whether to download published weights that are not available.

    Raises
    ------
    ModelError
        None of them has its weights.
    """
    preferred = recommended()
    for name in preferred:
        if methods()[name].can_run(find_model(home, needs(name, settings)), fetch):
            return name
    raise ModelError(
        f"neither the network that comes with svs nor {', '.join(preferred[1:])} is available (`svs methods`): install "
        "svs again, or name a method that needs no training: --method repet_sim"
    )


def recommended() -> tuple[str, ...]:
    """The methods that are used if the user names none, the best one first."""
    found = [name for name, method in methods().items() if method.recommended]
    return tuple(sorted(found, key=lambda name: -methods()[name].recommended))


def needs(name: str, settings: Settings) -> Path:
    """The input of a method's stage: a trained model, weights, the store, or just its own code.

    A method without a line in `wiring.yaml` needs `models/NAME` or `models/weights/NAME`.
    """
    if name in settings.methods:
        return settings.methods[name].needs
    return Path("models/weights" if name in of_kind(Kind.PRETRAINED) else "models") / name
