"""An entry of the registry of separation methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from svs.config.schema import Group
from svs.networks import ONNX
from svs.runtime.unavailable import installed

if TYPE_CHECKING:
    from svs.separators.base import Separator


class Kind(str, Enum):
    """The kinds of methods, in the order of lists."""

    NET = "net"  # trained here
    CLASSICAL = "classical"  # no training
    PRETRAINED = "pretrained"  # trained by others: weights are downloaded or supplied
    ORACLE = "oracle"  # a ceiling: it gets the true stems
    FLOOR = "floor"


@dataclass(frozen=True)
class Method:
    """A separation method as the registry knows it.

    Parameters
    ----------
    kind : Kind
    about : str
        A short description.
    options : a subclass of `svs.config.schema.Group`
        The type of its parameters, `separate.NAME`.
    build : callable
        From its name, its options, the path that it needs, and the settings to a `Separator`.
    group : str
        A group of parameters that it shares with other methods; `separate.NAME` overrides it.
    recommended : int
        If the user names no method, the one with the highest number that is ready is used, but never one with 0.
    on_device : bool
        Whether `build` also takes `device` by keyword: it runs a network (`svs.networks.inference`).
    ready : callable
        From the path that it needs, and whether to download what is missing, to whether it can run.
    trained_on : str
        What others trained it on.
    parameters : int, optional
        Of the network that others trained.
    modules : tuple of str
        Modules of extras of svs, without which it can't run.  Its weights, if it has any, come with them.
    """

    kind: Kind
    about: str
    options: type[Group]
    build: Callable[..., Separator]
    group: str = ""
    recommended: int = 0
    on_device: bool = False
    ready: Callable[[Path, bool], bool] = lambda needs, fetch: (needs / ONNX).is_file()
    trained_on: str = ""
    parameters: int | None = None
    modules: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """Those of `modules` that are not installed."""
        return [module for module in self.modules if not installed(module)]

    def can_run(self, needs: Path, fetch: bool) -> bool:
        """Whether it has what it needs: its `modules`, or what `ready` asks for."""
        return not self.missing() if self.modules else self.ready(needs, fetch)
