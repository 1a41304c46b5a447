"""What the registry knows of a separation method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svs.config.schema import Group, Settings

if TYPE_CHECKING:
    from svs.separators.base import Separator


class Kind(StrEnum):
    """What a method is, in the order that methods are listed."""

    NET = "net"  # trained here
    CLASSICAL = "classical"  # needs no training
    PRETRAINED = "pretrained"  # trained by others, weights are fetched or supplied
    ORACLE = "oracle"  # a ceiling: it is given the true stems
    FLOOR = "floor"


@dataclass(frozen=True)
class Method:
    """A separation method as the registry knows it.

    Parameters
    ----------
    kind : Kind
    about : str
        What it is, in a few words.
    options : a subclass of `svs.config.schema.Group`
        Its group of parameters, `separate.NAME`.
    build : callable
        From its name, its options, the path that it needs, and the settings to a `Separator`.
    group : str
        Of parameters that it shares with others: `separate.NAME` lies over it.
    recommended : int
        Where no method is named, the trained one with the highest number is taken; 0 is never taken.
    """

    kind: Kind
    about: str
    options: type[Group]
    build: Callable[[str, Any, Path, Settings], Separator]
    group: str = ""
    recommended: int = 0
