"""The project of a command: the folder of its parameters and trained models."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from svs.config import paths, schema
from svs.config.paths import PACKAGE
from svs.config.schema import Settings
from svs.errors import SettingsError


@dataclass(frozen=True)
class Project:
    """A folder with `params.yaml` (and `models/`), and its settings.  Paths in the settings are relative to `home`."""

    home: Path
    settings: Settings

    def path(self, relative: Path) -> Path:
        """A path of the settings, below `home`."""
        return self.home / relative


def find_project(given: Path | None = None, overrides: Sequence[str] = ()) -> Project:
    """The project of a command.

    The first of these: the folder given; $SVS_PROJECT; the working directory or the nearest folder above it that holds
    `params.yaml` beside `dvc.yaml`; the checkout that svs is installed from.

    Parameters
    ----------
    given : Path, optional
    overrides : sequence of str
        `KEY=VALUE` (`separate.cnn_separator.gate=0.3`), laid over the parameters and the profile.

    Raises
    ------
    SettingsError
        No project is found, or a parameter is unknown or impossible.
    """
    home = _home(given)
    laid: dict[str, Any] = {}
    for override in overrides:
        laid = schema.merge(laid, _parsed(override))
    profiles = {key: laid.pop(key) for key in ("profile", "profiles") if key in laid}
    return Project(home, schema.resolve(schema.merge(schema.read(home / paths.PARAMS), profiles), laid))


def _home(given: Path | None) -> Path:
    named = given or os.environ.get("SVS_PROJECT")
    if named:
        home = Path(named).expanduser()
        if not (home / paths.PARAMS).is_file():
            raise SettingsError(
                f"{home}: expected a folder that holds params.yaml (and models/); name another with "
                "--project or SVS_PROJECT"
            )
        return home.resolve()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / paths.PARAMS).is_file() and (folder / "dvc.yaml").is_file():
            return folder
    if (PACKAGE.parent / paths.PARAMS).is_file():
        return PACKAGE.parent
    raise SettingsError(
        "expected params.yaml in this folder or one above it; name the folder of a checkout of svs "
        "with --project or SVS_PROJECT"
    )


def _parsed(override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not all(part.strip() for part in key.split(".")):
        raise SettingsError(f"{override!r}: expected KEY=VALUE, for instance separate.cnn_separator.gate=0.3")
    try:
        tree: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise SettingsError(f"{override!r}: {value!r} is not a value of YAML; quote it") from None
    for part in reversed(key.split(".")):
        tree = {part.strip(): tree}
    return tree
