"""Output folders: one run at a time, a folder for each song, and the request that a result answers."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from svs import separators
from svs.config.project import Project
from svs.errors import DataError, SettingsError
from svs.runtime.files import files_below, read_json, sha256
from svs.runtime.process import log
from svs.separators.estimates import REQUEST


def separation_request(project: Project, method: str) -> dict[str, Any]:
    """What an estimate by a method depends on, apart from the recording."""
    settings = project.settings
    needs = project.model(separators.needs(method, settings))
    oracle = separators.find_method(method).kind is separators.Kind.ORACLE
    return {
        "method": method,
        # An oracle has the spectrogram of the store, but does not depend on its content.
        "model": sha256(files_below(needs)) if needs.is_dir() and not oracle else None,
        "spectrogram": settings.extract.masks.model_dump(mode="json") if oracle else None,
        "options": separators.options(method, settings).model_dump(mode="json"),
        "chunk": settings.separate.common.chunk,
    }


def is_answered(
    folder: Path, name: str, request: Mapping[str, Any], overwrite: bool, advice: str = "choose another --output"
) -> bool:
    """Whether a folder holds the result of a request, which the file `name` in it holds as JSON.

    Other keys of the file don't count.  With `overwrite` the result may be replaced, and is no answer.  The advice says
    what to do where the folder holds something else, which is never replaced.  Raise DataError then, and if it holds
    the result of another request.
    """
    if not folder.exists():
        return False
    if not (folder / name).is_file():
        raise DataError(f"{folder}: expected a folder of svs's results or no folder, found something else; {advice}")
    if overwrite:
        return False
    content = read_json(folder / name)
    different = [key for key, value in request.items() if content.get(key) != value]
    if different:
        differ = "differs" if len(different) == 1 else "differ"
        raise DataError(
            f"{folder}: holds the result of another request (its {', '.join(different)} {differ}); "
            "use --overwrite, or choose another --output"
        )
    return True


@contextmanager
def writing(result: Path, song: Path) -> Iterator[None]:
    """Turn a failure to write `result` into a DataError, and remove the folder of the song if it stays empty."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{result}: can't write it ({error.strerror or error}); choose another --output") from error
    finally:
        with suppress(OSError):
            song.rmdir()


def song_names(paths: Sequence[Path], output: Path | None = None) -> list[str]:
    """A folder name for each recording: its own name without the suffix, with more of the path where two are alike.

    A recording keeps the name that it has in the folder `output`, whatever else is named now; a name that a recording
    of another file name has there is taken.
    """
    choices = [list(dict.fromkeys(_names(Path(os.path.abspath(path))))) for path in paths]
    owners = {name: _owners(output / name) for names in choices for name in names} if output is not None else {}
    kept: dict[int, str] = {}
    for index, path in enumerate(paths):
        file = readable(path.name)
        for name in choices[index]:
            claims = [content for owner, content in owners.get(name, ()) if owner in (file, None)]
            if claims and name not in kept.values() and path.is_file() and sha256([path]) in claims:
                kept[index] = name
                break
        others = [name for name in choices[index] if all(owner in (file, None) for owner, _ in owners.get(name, ()))]
        choices[index] = others or choices[index][-1:]
    longer = [
        iter([kept[index]] if index in kept else [name for name in names if name not in kept.values()] or names[-1:])
        for index, names in enumerate(choices)
    ]
    names = [next(more) for more in longer]
    while alike := _alike(names):
        before = names
        names = [next(more, name) if name in alike else name for more, name in zip(longer, names, strict=True)]
        if names == before:
            break
    return names


def _owners(folder: Path) -> set[tuple[str | None, str]]:
    """File name (None where it isn't known) and checksum of the recordings that a folder holds results of."""
    found = set()
    for path in [*folder.glob(f"*/{REQUEST}"), folder / "vad.json"]:
        with suppress(DataError, OSError, KeyError, TypeError, AttributeError):  # none, or not what svs wrote
            content = read_json(path)
            song = content.get("song", content)
            found.add((song.get("file"), song["sha256"]))
    return found


def _alike(names: Sequence[str]) -> set[str]:
    """Names that are one to file systems which know neither upper case nor two spellings of an accent."""
    seen = [unicodedata.normalize("NFC", name).casefold() for name in names]
    counts = Counter(seen)
    return {name for name, folded in zip(names, seen, strict=True) if counts[folded] > 1}


def _names(path: Path) -> Iterator[str]:
    """Names of a recording, from the shortest to its whole path."""
    yield _folder_name(path.stem if path.stem.strip(".") else path.name)
    for level in range(len(path.parts)):
        parents = [_without_drive(part) for part in path.parent.parts[len(path.parent.parts) - level :]]
        yield _folder_name(" - ".join([*(part for part in parents if part.strip("/.\\")), path.name]))


def _without_drive(part: str) -> str:
    """A part of a path as a part of a name: of `C:\\` and `\\\\server\\share\\` what can stand in one."""
    return re.sub(r"[\\/:]+", " ", part).strip() if part.endswith(("\\", "/")) else part


def _folder_name(name: str) -> str:
    """`name` with at most 200 bytes, as no file system takes more than 255."""
    name = readable(name)
    if len(name.encode()) <= 200:
        return name
    return f"{name.encode()[:190].decode(errors='ignore')} {hashlib.sha256(name.encode()).hexdigest()[:8]}"


def readable(name: str) -> str:
    """A file name as text, even where its bytes are not UTF-8."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


@contextmanager
def only_one(output: Path) -> Iterator[None]:
    """Reserve an output folder for one run at a time; create it, and remove it again if it stays empty.

    Raise DataError if another run uses the folder, or it can't be written to.
    """
    output = Path(output)
    if str(output) == "-":
        raise SettingsError("-o -: expected a folder; `svs separate` alone writes to standard output, with --stem")
    existed = output.exists()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise DataError(
            f"{output}: expected a folder that can be written to ({error.strerror}); choose another --output"
        ) from None
    lock = FileLock(output / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{output}: another run of svs is writing there; wait for it, or choose another --output"
        ) from None
    except (OSError, NotImplementedError) as error:
        log.debug("%s: this file system can't lock files (%s)", output, error)
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it itself, once it is released
            Path(lock.lock_file).unlink()
        lock.release()
        if not existed:
            with suppress(OSError):
                output.rmdir()
