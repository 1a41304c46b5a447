"""Caches of libraries, on machines where neither the installation nor the home folder can be written to.

numba keeps librosa's compiled functions beside librosa or in the user's cache folder, and raises where it can write to
neither; matplotlib keeps a list of fonts, and logs lines where it can't.  There, a folder of the user in the temporary
one takes their place; it stays, as numba needs 15 s to compile anew.  (Keras and torch go on without a cache; weights
have `svs.data.pretrained.cache`.)
"""

from __future__ import annotations

import os
import stat
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
        caches, config = _of_user("XDG_CACHE_HOME", ".cache"), _of_user("XDG_CONFIG_HOME", ".config")
        if (spec := find_spec("librosa")) and spec.origin:
            beside = Path(spec.origin).parent / "util" / "__pycache__"
            if not any(map(_writable, _named("NUMBA_CACHE_DIR") or [beside, caches / "numba"])):
                os.environ["NUMBA_CACHE_DIR"] = _temporary()
        lists = _named("MPLCONFIGDIR") or [caches / "matplotlib", config / "matplotlib"]
        if find_spec("matplotlib") and not all(map(_writable, lists)):
            os.environ["MPLCONFIGDIR"] = _temporary()


def _named(variable: str) -> list[Path]:
    return [Path(os.environ[variable])] if os.environ.get(variable) else []


def _of_user(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or os.path.expanduser(f"~/{name}"))


def _writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that exists."""
    place = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    try:  # permissions don't tell: the disk may be read-only, or the folder one of /proc
        tempfile.TemporaryFile(dir=place).close()
    except OSError:
        return False
    return True


@cache
def _temporary() -> str:
    """A folder of this user alone, as numba runs what it finds in it."""
    if not hasattr(os, "getuid"):  # Windows, where each user has a temporary folder
        return tempfile.mkdtemp(prefix="svs-caches-")
    place = Path(tempfile.gettempdir()) / f"svs-caches-{os.getuid()}"
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return str(place)
    return tempfile.mkdtemp(prefix="svs-caches-")  # somebody else has taken that name
