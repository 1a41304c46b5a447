"""Separation methods by name.

A method is one file here with `build(options, needs)` that
returns a `Separator`, one group of options in `svs.settings.Separate`, and one
line under `methods` in `params.yaml`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from svs.errors import SettingsError
from svs.separators.base import Separator
from svs.settings import Settings

REGISTRY = ("cnn_separator", "cnn_deep_separator", "oracle_ibm", "mixture")


def build(name: str, settings: Settings) -> Separator:
    """A separation method, ready to use.

    Parameters
    ----------
    name : str
        One of `REGISTRY`, with a line under `methods`, which says what it needs.
    settings : Settings

    Raises
    ------
    SettingsError
        There is no method of that name.
    ModelError, DataError
        It needs a trained model, or the store, that is not there.
    """
    if name not in REGISTRY:
        raise SettingsError(f"methods.{name}: no such method; expected one of {', '.join(REGISTRY)}")
    needs = settings.methods.get(name, Path("models") / name)
    return import_module(f"svs.separators.{name}").build(settings.separate.of(name), needs)
