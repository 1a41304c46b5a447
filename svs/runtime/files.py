"""Files that appear whole or not at all, and fingerprints of what they depend on."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from svs.config.paths import PACKAGE
from svs.errors import DataError

# What there is no room for, by the number of the error.
NO_ROOM = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "a file reached the limit of its size (ulimit -f)",
}
_ROOT = "svs"
_NO_RESULT = ("svs.config.", "svs.runtime.", "svs.errors", "svs.stems")  # code that does not change what is computed
# What file managers, archivers and disks leave beside files, and what is in it; hidden names are foreign too.
_FOREIGN = frozenset(
    ("@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "__macosx")
    + ("system volume information", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
)
_HOST = re.sub(r"[^\w-]", "-", platform.node())[:40]


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to `path` when the block succeeds.

    It may become a file or a folder; a folder replaces an existing one.  If the block raises, the temporary file or
    folder is removed and `path` stays as it was.

    Raises
    ------
    DataError
        There is no room on the disk.
    """
    path = Path(path)
    short = _shortened(path.name)
    holder = path.parent / f".{short}.{os.getpid()}@{_HOST}.unfinished"
    temporary = holder / path.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(holder, short)
        holder.mkdir()
        yield temporary
        if temporary.is_dir() and path.is_dir():
            # A folder can't be renamed to one that has content, so the old one moves aside first.
            os.replace(path, holder / "replaced")
        os.replace(temporary, path)
    except OSError as error:
        if reason := NO_ROOM.get(error.errno or 0):
            there = next(folder for folder in path.absolute().parents if folder.is_dir())
            free = shutil.disk_usage(there).free / 2**20
            raise DataError(f"{path}: {reason} ({free:.0f} MiB free); free some space and run again") from error
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _shortened(name: str) -> str:
    """A name for what is made on the way to a file: the same, or another one for each name that is long."""
    # A file system takes 255 bytes.
    whole = name.encode(errors="surrogateescape")
    if len(whole) <= 100:
        return whole.decode(errors="ignore")
    return f"{whole[:80].decode(errors='ignore')}-{hashlib.sha256(whole).hexdigest()[:16]}"


def _remove_abandoned(holder: Path, name: str) -> None:
    """Remove what killed processes of this machine left when they wrote under `name`."""
    # Other machines may share the disk, and whether their processes live is unknown here.
    for other in holder.parent.glob(f".{glob.escape(name)}.*@{_HOST}.unfinished"):
        if other == holder or not _alive(int(other.name.split(".")[-2].partition("@")[0])):
            shutil.rmtree(other, ignore_errors=True)


def _alive(process: int) -> bool:
    import psutil

    try:  # a zombie has ended, and is not yet collected by its parent
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # it belongs to somebody else
        return True


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) under `path`, whole or not at all."""
    with written(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, whole or not at all; NaN becomes null."""
    write_text(path, json.dumps(_finite(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raise DataError if it is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run `dvc repro` first") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run `dvc repro`") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not (value == value and abs(value) != float("inf")):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def is_foreign(name: str) -> bool:
    """Whether a file or folder of this name is no content: hidden, or left by a file manager, an archiver or a disk."""
    return name.casefold() in _FOREIGN or (name.startswith(".") and bool(name.strip(".")))


def sha256(paths: Iterable[Path]) -> str:
    """Hash of the contents of files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def files_below(path: Path) -> list[Path]:
    """All files below a folder in a fixed order (or the file itself); raise DataError if there is no such folder."""
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; run `dvc repro` first")
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())


def fingerprint(*parts: Any, inputs: Iterable[Path] = (), code: Iterable[str] = (_ROOT,)) -> str:
    """A short name for "these parameters, these inputs, this code".

    Parameters
    ----------
    *parts
        Anything with a stable `repr` (settings, names).
    inputs : paths
        Files and folders whose contents count.
    code : names of modules
        Code that counts: these modules and all that they import, directly or not.  Configuration, runtime and errors
        do not count, because they do not change what is computed.  The default is all code of svs.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(repr(part).encode())
    roots = [(PACKAGE.parent, file) for file in _files_of(code)]
    roots += [(Path(root), file) for root in inputs for file in files_below(root)]
    for root, file in roots:
        digest.update(str(file.relative_to(root)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _files_of(code: Iterable[str]) -> list[Path]:
    """Files of modules and of all that they import."""
    import grimp

    graph = grimp.build_graph(_ROOT, exclude_type_checking_imports=True, cache_dir=None)
    found = {module for name in code for module in {name} | graph.find_upstream_modules(name)}
    found = graph.modules if _ROOT in found else {module for module in found if not module.startswith(_NO_RESULT)}
    paths = (PACKAGE.parent.joinpath(*module.split(".")) for module in sorted(found))
    return [path / "__init__.py" if path.is_dir() else path.with_suffix(".py") for path in paths]


def publish(source: Path, target: Path) -> None:
    """Copy a finished folder to its final name.  It appears whole, and replaces an older one."""
    with written(target) as temporary:
        link_tree(source, temporary)


def link_tree(source: Path, target: Path) -> None:
    """Copy a folder into a new or an existing one, by hard links if the disk has them.

    Half-written files of killed processes (`written`) are not copied.
    """
    shutil.copytree(
        source, target, copy_function=_link_or_copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*.unfinished")
    )


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Scratch:
    """A folder from which the next run resumes an interrupted one: in `root`, below the name of its task.

    The task is for instance `train-vad`; only one run of it at a time.  The name is a fingerprint, so a run with other
    parameters, inputs or code does not find the folder.  `done` removes it, and those of other fingerprints of the
    same task too.
    """

    def __init__(self, root: Path, task: str, name: str):
        self._siblings = Path(root) / task
        self.path = self._siblings / name
        self.path.mkdir(parents=True, exist_ok=True)

    def done(self) -> None:
        """Remove all scratch of this task."""
        shutil.rmtree(self._siblings, ignore_errors=True)
