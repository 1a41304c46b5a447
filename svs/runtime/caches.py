"""Caches of the libraries, on machines where neither the installation nor the home folder can be written to.

Each library has its own cache: numba that of librosa's compiled functions beside librosa or in the user's cache folder,
matplotlib that of the fonts in its two folders.  numba raises where it can write to neither, matplotlib logs lines.
There, a temporary folder takes their place, removed when the process ends.  (Keras and torch go on without a cache;
weights have the folder that `svs.data.pretrained.cache` names.)
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def provide() -> None:
    """Name a temporary folder to each library that has no folder to write to.

    Call it before the libraries are imported.  Processes that start later inherit the choice.
    """
    with suppress(OSError):  # no temporary folder either: `svs.runtime.process.main` says what to do
        if os.path.expanduser("~") == "~":  # a user without a home, who would get a folder called ~
            os.environ["HOME"] = _temporary()
        if not any(map(_writable, _folders_of_numba())):
            os.environ["NUMBA_CACHE_DIR"] = _temporary()
        if not all(map(_writable, _folders_of_matplotlib())):
            os.environ["MPLCONFIGDIR"] = _temporary()


def _folders_of_numba() -> list[Path]:
    """Folders of which numba takes the first that it can write to."""
    if named := os.environ.get("NUMBA_CACHE_DIR"):
        return [Path(named)]
    spec = find_spec("librosa")
    beside = [Path(spec.origin).parent / "util" / "__pycache__"] if spec and spec.origin else []
    return [*beside, _of_user("XDG_CACHE_HOME", ".cache") / "numba"]


def _folders_of_matplotlib() -> list[Path]:
    """Folders that matplotlib needs, all of them."""
    if named := os.environ.get("MPLCONFIGDIR"):
        return [Path(named)]
    return [_of_user(*kind) / "matplotlib" for kind in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))]


def _of_user(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or os.path.expanduser(f"~/{name}"))


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists.

    Permissions don't tell: the disk may be read-only, or the folder one of /proc.
    """
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        return False
    return True


@cache
def _holder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="svs-caches-", ignore_cleanup_errors=True)


def _temporary() -> str:
    return _holder().name
