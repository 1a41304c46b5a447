"""Output folders: one run at a time, a folder for each song, and the request that a result answers."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from filelock import FileLock, Timeout

from svs import separators
from svs.config.paths import NAME
from svs.config.project import Project
from svs.errors import DataError, SettingsError
from svs.runtime.files import files_below, is_foreign, read_json, sha256, written
from svs.runtime.process import log
from svs.separators.estimates import REQUEST

ENHANCED = ("enhanced", "residual")  # names of the two parts of a voice or breath recording
_BESIDE = ("scores.json", "spectrogram.png")  # what a result may have beside its audio and its request
RESULT = REQUEST.removesuffix(".json")  # what the request of a result is called among its files


def check_name(name: str, methods: Sequence[str], stem: str | None) -> None:
    """Raise SettingsError unless a template like `NAME` keeps apart the results of all recordings and methods."""
    try:
        parts = [
            (field, spec or change or "") for _, field, spec, change in Formatter().parse(name) if field is not None
        ]
    except ValueError as error:
        raise SettingsError(f"name {name!r}: expected a template such as {NAME} ({error})") from None
    known, fields = ("song", "method", "stem"), [field for field, _ in parts]
    for field, more in parts:
        if field not in known or more:
            raise SettingsError(
                f"name {name!r}: expected the fields {{{'}, {'.join(known)}}}, got {{{field}{more and '...'}}}"
            )
    needed = {"song": True, "method": len(methods) > 1, "stem": stem is None}
    if missing := [field for field in known if needed[field] and field not in fields]:
        raise SettingsError(f"name {name!r}: expected {{{missing[0]}}} in it, so that no file replaces another one")
    if name.startswith("/") or ".." in Path(name).parts or name.endswith("/"):
        raise SettingsError(f"name {name!r}: expected names of files below the output folder")


@dataclass(frozen=True)
class Place:
    """Where the files of one result go: into a folder of their own, or beside those of others, as the template says."""

    output: Path
    name: str  # a template (`check_name`)
    song: str
    method: str
    audio: tuple[str, ...]  # names of the audio files

    def path(self, file: str) -> Path:
        """The path of a file.  Where the template has no stem, files beside the audio have theirs at the end."""
        stem, suffix = os.path.splitext(file)
        name = self.name if "{stem}" in self.name or file in self.audio else f"{self.name}.{{stem}}"
        return self.output / (name.format(song=self.song, method=self.method, stem=stem) + suffix)

    @property
    def has_folder(self) -> bool:
        return self.name == NAME

    @property
    def shown(self) -> Path:
        """What a person is told: the folder, or the first audio file."""
        audio = self.path(self.audio[0])
        return audio.parent if self.has_folder else audio

    def is_answered(self, request: Mapping[str, Any], overwrite: bool) -> bool:
        """As the function `is_answered`."""
        wanted = self.path(REQUEST)
        if self.has_folder:
            if overwrite and wanted.is_file():
                ours = {REQUEST, *_BESIDE, *read_json(wanted).get("files", ())}
                names = sorted(path.name for path in wanted.parent.iterdir())
                if others := [name for name in names if name not in ours and not is_foreign(name)]:
                    advice = "expected only files of svs in a result that --overwrite replaces; move it elsewhere"
                    raise DataError(f"{wanted.parent / others[0]}: {advice}")
            return is_answered(wanted.parent, REQUEST, request, overwrite)
        # `os.path.exists`: to `Path.exists` a name that is too long is an OSError.
        there = [path for path in map(self.path, self.audio) if os.path.exists(path)]
        found = [*there, *(path for path in map(self.path, (REQUEST, *_BESIDE)) if os.path.exists(path))]
        if found and not _is_request(wanted):
            advice = "choose another --output or --name"
            raise DataError(f"{found[0]}: expected a file of svs or none, found something else; {advice}")
        if not there or overwrite:
            return False
        _check_answer(there[0], wanted, request)
        return len(there) == len(self.audio)

    @contextmanager
    def written(self) -> Iterator[Path]:
        """A folder to fill with the files, which get their places when the block succeeds; DataError if they can't."""
        shown = self.shown
        # The folder of the song goes if it stays empty, but not that of all results.
        song = shown.parent if shown.parent != self.output else shown
        with writing(shown, song), written(shown if self.has_folder else self.path(REQUEST)) as temporary:
            folder = temporary if self.has_folder else temporary.parent / "files"
            folder.mkdir()
            try:
                yield folder
            except DataError as error:  # name the file that was to be written, not the temporary one
                text = str(error)
                for file in self.audio:
                    text = text.replace(str(folder / file), str(self.path(file)))
                raise DataError(text) from error
            if not self.has_folder:
                self._move(folder, temporary)

    def _move(self, folder: Path, request: Path) -> None:
        """Give files their places, in an order in which no interruption leaves a result that looks like another one."""
        files = {path: self.path(path.name) for path in folder.iterdir() if path.name != REQUEST}
        # Scores and picture of an earlier result go too, where this one has none.
        for target in (*files.values(), *map(self.path, _BESIDE)):
            target.unlink(missing_ok=True)
        # The request comes before the audio files: it says whose they are.  It is answered when all of them are there.
        shutil.copyfile(folder / REQUEST, request)
        os.replace(folder / REQUEST, self.path(REQUEST))
        for path, target in files.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)


def separation_request(project: Project, method: str) -> dict[str, Any]:
    """What an estimate by a method (or an ensemble) depends on, apart from the recording."""
    if len(members := separators.members(method)) > 1:
        return {"method": method, "members": [separation_request(project, member) for member in members]}
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
    if not overwrite:
        _check_answer(folder, folder / name, request)
    return not overwrite


def _is_request(path: Path) -> bool:
    """Whether a file is a request that svs wrote."""
    try:
        return path.is_file() and "files" in read_json(path)
    except (DataError, TypeError):
        return False


def _check_answer(result: Path, path: Path, request: Mapping[str, Any]) -> None:
    """Raise DataError unless the JSON at `path` says that a result is one of this request."""
    content = read_json(path)
    different = [key for key, value in request.items() if content.get(key) != value]
    if different:
        differ = "differs" if len(different) == 1 else "differ"
        raise DataError(
            f"{result}: holds the result of another request (its {', '.join(different)} {differ}); "
            "use --overwrite, or choose another --output"
        )


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


def song_names(paths: Sequence[Path], output: Path | None = None, template: str = NAME) -> list[str]:
    """A folder name for each recording: its own name without the suffix, with more of the path where two are alike.

    A recording keeps the name that it has in the folder `output`, whatever else is named now; a name that a recording
    of another file name has there is taken.  The template is that of the results there (`check_name`).
    """
    choices = [list(dict.fromkeys(_names(Path(os.path.abspath(path))))) for path in paths]
    owners = {name: _owners(output, template, name) for names in choices for name in names} if output else {}
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


def _owners(output: Path, template: str, name: str) -> set[tuple[str | None, str]]:
    """File name (None where it isn't known) and checksum of the recordings that have results under a name."""
    found = set()
    requests = Place(Path(), glob.escape(template), glob.escape(name), "*", ()).path(REQUEST)
    for path in [*output.glob(str(requests)), output / name / "vad.json"]:
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
