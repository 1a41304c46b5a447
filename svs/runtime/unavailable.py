"""A method that can't run: its package is missing, or a note stands in its folder instead of estimates or scores."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from svs.errors import UnavailableError
from svs.runtime.files import read_json, write_json, written

_NOTE = "unavailable.json"


def record(folder: Path, method: str, reason: str) -> None:
    """Leave a folder that holds nothing but the reason why the method could not run."""
    with written(folder) as temporary:
        write_json(temporary / _NOTE, {"method": method, "reason": reason})


def reason(folder: Path) -> str | None:
    """Why a method could not run; None where its folder holds what it should."""
    path = Path(folder) / _NOTE
    return read_json(path)["reason"] if path.exists() else None


def installed(module: str) -> bool:
    """Whether a module of an extra can be imported; imports nothing."""
    return find_spec(module) is not None


def package(module: str, extra: str) -> ModuleType:
    """Import a module of an extra of svs.

    Raises
    ------
    UnavailableError
        It, or something that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise UnavailableError(f"{error.name} is not installed; pip install 'svs[{extra}]' installs it") from None
