"""A folder for each track, with patterns that say which files are vocals, mixture or accompaniment.

All other audio in a track's folder is a part of the accompaniment.  A `NAME.stem.mp4` is a track too.  Folders called
after a split (train, valid, test) give their tracks to it.  The group of a track is the folder above its own: an album,
an artist.
"""

from __future__ import annotations

import unicodedata
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from svs.audio.find import EXTENSIONS
from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.musdb import SUFFIX
from svs.data.songs import Audio, Song, Stems
from svs.runtime.files import is_foreign
from svs.stems import MIXTURE, STREAMS, VOCALS, WHOLE

Patterns = Annotated[tuple[str, ...], Field(min_length=1)]
_SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test"}


class Options(Group):
    """Patterns of file names without suffix; capitals do not matter.  The first kind that matches wins."""

    mixture: Patterns = ("mix*", "*mixture*", "master*")
    accompaniment: Patterns = ("*accomp*", "*instrumental*", "*karaoke*", "*no_vocal*", "*no vocal*", "*novocal*")
    vocals: Patterns = ("*vocal*", "*vox*", "*voice*")


def _plain(text: str) -> str:
    """Without capitals; macOS writes an umlaut as two characters, keyboards as one."""
    return unicodedata.normalize("NFC", text).casefold()


def _kind(stem: str, options: Options) -> str:
    """What a file is, by its name without suffix: a kind of the options, or a stem of its own name."""
    kinds = {MIXTURE: options.mixture, WHOLE: options.accompaniment, VOCALS: options.vocals}
    for kind, patterns in kinds.items():
        if any(fnmatchcase(_plain(stem), _plain(pattern)) for pattern in patterns):
            return kind
    return stem


def _folders(folder: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """The folders below, each before those in it; a link to a folder above is not followed."""
    above = (*above, folder.resolve())
    below = [item for item in sorted(folder.iterdir()) if item.is_dir() and not is_foreign(item.name)]
    below = [item for item in below if item.resolve() not in above]
    return [each for item in below for each in (item, *_folders(item, above))]


def _song(name: str, stems: Stems, above: tuple[str, ...], problem: str = "") -> Song:
    """A track below the folders `above`."""
    split = next((_SPLITS[each.casefold()] for each in above if each.casefold() in _SPLITS), "")
    rest = [each for each in above if each.casefold() not in _SPLITS]
    return Song(" - ".join([*rest, name]), stems, split, (" - ".join(rest),) if rest else (), problem)


def _audio(folder: Path) -> list[Path]:
    items = [item for item in sorted(folder.iterdir()) if not is_foreign(item.name)]
    items = [item for item in items if item.is_file() or not item.exists()]  # a link to nothing is a missing file
    return [item for item in items if item.suffix[1:].lower() in EXTENSIONS]


def songs(folder: Path, options: Options) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`."""
    found = []
    for place in (folder, *_folders(folder)):
        parts = place.relative_to(folder).parts
        stems: dict[str, tuple[Audio, ...]] = {}
        names = [path.stem.casefold() for path in _audio(place)]
        for path in _audio(place):
            relative = path.relative_to(folder).as_posix()
            if path.name.endswith(SUFFIX):
                streams = {stream: (Audio(relative, stream),) for stream in STREAMS}
                found.append(_song(path.name.removesuffix(SUFFIX), streams, parts))
            elif place != folder:
                kind = _kind(path.stem, options)
                stems[kind] = (*stems.get(kind, ()), Audio(relative))
        if stems:
            mixtures = [Path(audio.path).name for audio in stems.get(MIXTURE, ())]
            problem = ""
            if len(mixtures) > 1:
                problem = f"expected one mixture, found {', '.join(mixtures)}; remove all but one, or set "
                problem += "download.layouts.folders.mixture"
            if twice := sorted({name for name in names if names.count(name) > 1}):
                problem = f"expected one file of each name, found several of {', '.join(twice)}; remove all but one"
            found.append(_song(place.name, stems, parts[:-1], problem))
    return found


def recognises(folder: Path) -> bool:
    """Whether a track has vocals, by the default patterns."""
    return any(VOCALS in song.stems for song in songs(folder, Options()))


LAYOUTS = {"folders": Layout("a folder for each track, with a file for each stem", songs, recognises, Options, turn=1)}
