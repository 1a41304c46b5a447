"""Find recordings by files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

from svs.errors import DataError, recording_error

_KINDS = (
    "3gp aac ac3 aif aifc aiff alac amr ape au avi caf dff dsf dts eac3 flac flv m2ts m4a m4b m4v mka mkv mov mp2 mp3 "
    "mp4 mpa mpc mpeg mpg mts oga ogg ogv opus ra rm rf64 shn snd spx tak ts tta vob w64 wav wave webm wma wmv wv"
)
EXTENSIONS = frozenset(_KINDS.split())


def find_recordings(arguments: Sequence[str | Path]) -> list[Path]:
    """Recordings named by files, folders and patterns: sorted, each once.

    A file is itself, whatever its name; a folder is every audio and video file
    in it and below (by extension, hidden ones left out); a pattern ("*.mp3",
    "music/**/*.flac") is the files it matches, and the content of the folders
    it matches.

    Raises
    ------
    DataError
        A file is missing, a folder holds no recording, a pattern matches none, or nothing was named.
    """
    if not arguments:
        raise DataError("expected recordings, folders or patterns, got none; name at least one")
    found = sorted((path for argument in arguments for path in _found(str(argument))), reverse=True)
    return sorted({os.path.abspath(path): path for path in found}.values())


def _found(text: str) -> list[Path]:
    if not text:
        raise DataError("expected a recording, a folder or a pattern, got an empty name; check the command")
    path = Path(text)
    if os.path.isdir(path):
        if not (inside := _inside(path)):
            raise recording_error(
                path,
                "expected a folder of recordings, there is none in it; "
                "name another folder, or a file whatever its extension",
            )
        return inside
    if os.path.exists(path):
        return [path]
    if not glob.has_magic(text):
        raise recording_error(path, "expected a recording or a folder, there is no such file; check the name")
    # A pattern that ends in an extension means all such files; "*" means recordings.
    any_kind = bool(re.fullmatch(r"\.\w+", path.suffix))
    matches: list[Path] = []
    for match in map(Path, glob.iglob(os.path.expanduser(text), recursive=True)):
        if match.is_dir():
            matches += _inside(match)
        elif match.is_file() and (any_kind or _is_recording(match)):
            matches.append(match)
    if not matches:
        raise recording_error(
            path, "expected recordings, the pattern matches none; check it, and quote it for the shell"
        )
    return matches


def _inside(folder: Path) -> list[Path]:
    """The recordings in a folder and below, without hidden files and folders."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return [path for path in found if _is_recording(path) and path.is_file()]


def _is_recording(path: Path) -> bool:
    return path.suffix[1:].lower() in EXTENSIONS
