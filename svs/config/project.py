"""The project of a command: the folder of its parameters and trained models."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from svs.config import paths, schema
from svs.config.paths import PACKAGE
from svs.config.schema import Settings
from svs.errors import ModelError, SettingsError, SVSError


@dataclass(frozen=True)
class Project:
    """A folder with `params.yaml` (and `models/`), and its settings.  Paths in the settings are relative to `home`."""

    home: Path
    settings: Settings

    def path(self, relative: Path) -> Path:
        """A path of the settings, below `home`."""
        return self.home / relative

    def model(self, relative: Path) -> Path:
        """A net or weights: as `find_model`."""
        return find_model(self.home, relative)


def find_model(home: Path, relative: Path) -> Path:
    """Where a net or weights lie: below `home`, the user's folder (`svs.config.paths.user_data`), or the package.

    It is the first of these that holds anything but a README; the one below `home` if none does.  A path that begins
    with `svs`, the folder of the package, names what comes with it.
    """
    places = [place / relative for place in (home, paths.user_data(), PACKAGE)]
    if relative.parts[:1] == (PACKAGE.name,):
        places.append(PACKAGE.parent / relative)
    return next((place for place in places if any(file.name != "README.md" for file in place.glob("*"))), places[0])


def find_project(
    given: Path | None = None,
    overrides: Sequence[str] = (),
    check: Callable[[Settings], None] = lambda settings: None,
) -> Project:
    """The project of a command.

    The first of these: the folder given; $SVS_PROJECT; the working directory or the nearest folder above it that holds
    `params.yaml` of svs beside `dvc.yaml` (other projects of DVC are passed over); the checkout that svs is installed
    from; the user's folder (`svs.config.paths.user_data`), with the parameters that svs comes with.

    The parameters of the project lie over those that svs comes with, so it may hold only those that it changes.  Its
    `methods` and `models` are all that it has.

    Parameters
    ----------
    given : Path, optional
    overrides : sequence of str
        `KEY=VALUE` (`separate.cnn_separator.gate=0.3`), laid over the parameters and the profile.
    check : callable, optional
        Looks for more that is wrong with the settings, and raises SVSError.

    Raises
    ------
    SettingsError
        The folder given is no project, or a parameter is unknown or impossible: the message begins with the override
        that is to blame, or with the file.
    """
    home = _home(given)
    content = _content(home / paths.PARAMS)
    try:
        return Project(home, _settings(content, overrides, check))
    except (SettingsError, ModelError) as error:
        reason: SVSError = error
    if fault := _fault(content, (), check):
        raise type(fault)(f"{home / paths.PARAMS}, {fault}")
    for override in reversed(overrides):  # the last one without which all is well
        if not _fault(content, [other for other in overrides if other != override], check):
            raise type(reason)(_blamed(override, str(reason), content, check))
    for count, override in enumerate(overrides, 1):  # several are wrong: the first of them
        if fault := _fault(content, overrides[:count], check):
            raise type(fault)(_blamed(override, str(fault), content, check))
    raise reason


def _content(path: Path) -> dict[str, Any]:
    """The parameters of a project, laid over those that svs comes with."""
    defaults = schema.read(paths.DEFAULTS)
    if path == paths.DEFAULTS or not path.is_file():  # the checkout itself, or the user's folder
        return defaults
    given = schema.read(path)
    replaced = given.keys() & set(schema.WIRED)
    return schema.merge({key: value for key, value in defaults.items() if key not in replaced}, given)


def _fault(content: dict[str, Any], overrides: Sequence[str], check: Callable[[Settings], None]) -> SVSError | None:
    try:
        _settings(content, overrides, check)
    except (SettingsError, ModelError) as error:
        return error
    return None


def _settings(content: dict[str, Any], overrides: Sequence[str], check: Callable[[Settings], None]) -> Settings:
    laid: dict[str, Any] = {}
    for override in overrides:
        laid = schema.merge(laid, _parsed(override))
    profiles = {key: laid.pop(key) for key in ("profile", "profiles") if key in laid}
    settings = schema.resolve(schema.merge(content, profiles), laid)
    check(settings)
    return settings


def _blamed(override: str, reason: str, content: dict[str, Any], check: Callable[[Settings], None]) -> str:
    """The message about an override; of an unknown key it tells the nearest one that would do."""
    key, _, value = override.partition("=")
    reason = reason.removeprefix(f"{override!r}: ")
    reason = re.sub(r"^profile \w+: ", "", reason).removeprefix(f"{key.strip()}: ")
    if "no such parameter" in reason:
        known = _keys(schema.merge(content, content["profiles"][content["profile"]]))
        parent, dot, last = key.strip().rpartition(".")
        guesses = difflib.get_close_matches(last, {other.rpartition(".")[2] for other in known}, n=5)
        alike = [other for other in known if other.endswith(f".{last}")]
        for guess in [
            *(parent + dot + guess for guess in guesses),
            *difflib.get_close_matches(key, alike or known, 1, 0.4),
        ]:
            if not _fault(content, [f"{guess}={value}"], check):
                return f"{override}: {reason}; the nearest key is {guess}"
    return f"{override}: {reason}"


def _keys(tree: Any) -> set[str]:
    """The keys of all values in a tree of mappings, with dots."""
    if not isinstance(tree, dict):
        return set()
    return {f"{key}.{below}" if below else str(key) for key, value in tree.items() for below in (_keys(value) or {""})}


def _home(given: Path | None) -> Path:
    named = given or os.environ.get("SVS_PROJECT")
    if named:
        home = Path(os.path.expanduser(named))
        if not (home / paths.PARAMS).is_file():
            raise SettingsError(
                f"{home}: expected a folder that holds params.yaml (and models/); name another with "
                "--project or SVS_PROJECT"
            )
        return home.resolve()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if _is_of_svs(folder):
            return folder
    return paths.user_data() if paths.DEFAULTS == paths.PACKAGED else PACKAGE.parent


def _is_of_svs(folder: Path) -> bool:
    """Whether a folder holds params.yaml and dvc.yaml of svs, however broken: every project of DVC may have both."""
    params = folder / paths.PARAMS
    if not params.is_file() or not (folder / "dvc.yaml").is_file():
        return False
    if (folder / schema.WIRING).is_file():
        return True
    with open(params, "rb") as file:
        groups = set(re.findall(rb"^(\w+) *:", file.read(1 << 20), re.MULTILINE))
    return groups >= {b"profiles", b"separate"}


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
