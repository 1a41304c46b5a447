"""Find recordings by files, folders and patterns."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from svs.errors import DataError, recording_error
from svs.runtime.files import is_foreign

log = logging.getLogger("svs")

_KINDS = (
    "3gp aac ac3 aif aifc aiff alac amr ape au avi caf dff dsf dts eac3 flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 "
    "mp4 mpa mpc mpeg mpg mts oga ogg ogv opus ra rm rf64 shn snd spx tak ts tta vob w64 wav wave webm wma wmv wv"
)
EXTENSIONS = frozenset(_KINDS.split())


def find_recordings(arguments: Sequence[str | Path]) -> tuple[list[Path], list[DataError]]:
    """Recordings named by files, folders and patterns: sorted, each once; and an error for each name that means none.

    A file is itself, whatever its name; a folder is every audio and video file
    in it and below (by extension; `is_foreign` names are left out, links to other folders are followed); a pattern
    ("*.mp3", "music/**/*.flac") is the files it matches, and the content of the folders it matches.

    Raises
    ------
    DataError
        Nothing was named.
    """
    if not arguments:
        raise DataError("expected recordings, folders or patterns, got none; name at least one")
    found: list[Path] = []
    errors: list[DataError] = []
    for argument in dict.fromkeys(map(str, arguments)):
        try:
            found += _found(argument, errors)
        except DataError as error:
            errors.append(error)
    # A file that several paths lead to is one file; of two links to it each has its own name.
    places = {path: os.path.join(os.path.realpath(path.parent), path.name) for path in sorted(found, reverse=True)}
    return sorted({place: path for path, place in places.items()}.values()), errors


def _found(text: str, errors: list[DataError]) -> list[Path]:
    """The recordings of one name; what is wrong inside a folder is added to `errors`."""
    if not text:
        raise DataError("expected a recording, a folder or a pattern, got an empty name; check the command")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/|www\.", text) and not os.path.lexists(text):
        todo = "name it by its path" if text.startswith("file:") else "download it first, and name the file"
        raise recording_error(text, f"expected a recording on this machine, this is a URL; {todo}")
    path = Path(text)
    if os.path.isdir(path):
        if not (inside := _inside(path, errors)):
            raise recording_error(
                path,
                "expected a folder of recordings, there is none in it; "
                "name another folder, or a file whatever its extension",
            )
        return inside
    if os.path.exists(path):
        return [path]
    if os.path.lexists(path):
        raise _dangling(path)
    if not glob.has_magic(text):
        raise recording_error(path, "expected a recording or a folder, there is no such file; check the name")
    # A pattern that ends in an extension means all such files; "*" means recordings.
    any_kind = bool(re.fullmatch(r"\.\w+", path.suffix))
    matches: list[Path] = []
    for match in _matches(os.path.expanduser(text)):
        if match.is_dir():
            matches += _inside(match, errors)
        elif match.is_file() and (any_kind or _is_recording(match)):
            matches.append(match)
    if not matches:
        raise recording_error(
            path, "expected recordings, the pattern matches none; check it, and quote it for the shell"
        )
    return matches


def _matches(pattern: str) -> Iterator[Path]:
    """What a pattern matches.  The folders of `**` are those of `_folders`: glob's would follow loops of links."""
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from (Path(match) for match in glob.iglob(pattern) if not is_foreign(os.path.basename(match)))
        return
    first = parts.index("**")
    rest = os.sep.join(parts[first + 1 :])
    for start in glob.iglob(os.sep.join(parts[:first]) or os.curdir):
        for folder, _ in _folders(start):
            yield from _matches(os.path.join(glob.escape(folder), rest)) if rest else (Path(folder),)


def _folders(top: str | Path, errors: list[DataError] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A folder and those below it, each once, with the names of their files."""

    def refused(error: OSError) -> None:
        if errors is not None:
            errors.append(recording_error(Path(error.filename), f"can't look into this folder ({error.strerror})"))

    home = Path(os.path.realpath(top))
    seen = {home}
    for place, folders, files in os.walk(top, followlinks=True, onerror=refused):
        kept = []
        for name in folders:
            real = Path(os.path.realpath(os.path.join(place, name)))
            # A link to what is above is a loop, one to what is below is looked into anyway.
            twice = os.path.islink(os.path.join(place, name)) and (real in home.parents or home in real.parents)
            if real in seen or twice:
                log.info("%s: a link to a folder that is looked into already, left out", os.path.join(place, name))
            elif not is_foreign(name):
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        yield place, [name for name in files if not is_foreign(name)]


def _inside(folder: Path, errors: list[DataError]) -> list[Path]:
    """The recordings in a folder and below."""
    paths = [Path(place, name) for place, names in _folders(folder, errors) for name in names]
    paths = [path for path in paths if _is_recording(path)]
    errors += [_dangling(path) for path in paths if not path.exists()]
    return [path for path in paths if path.is_file()]


def _dangling(link: Path) -> DataError:
    target = os.readlink(link) if link.is_symlink() else "nowhere"
    return recording_error(link, f"expected a recording, this is a link to {target}, which is not there; mend the link")


def _is_recording(path: Path) -> bool:
    return path.suffix[1:].lower() in EXTENSIONS
