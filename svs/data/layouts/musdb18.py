"""MUSDB18 and MUSDB18-HQ: `train` and `test`, with `.stem.mp4` files or folders of five wav files.

Two layouts, those of `musdb`.  Validation tracks are musdb's own 14.
"""

from __future__ import annotations

import logging
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import yaml

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.musdb import SUFFIX
from svs.data.songs import Audio, Song
from svs.errors import DataError
from svs.runtime.files import is_foreign
from svs.stems import STREAMS

log = logging.getLogger("svs")
_ALIKE = (".wav", ".flac", ".mp3", ".mp4", ".m4a", ".ogg")  # a file of audio that is no track


def with_subsets(folder: Path) -> Path | None:
    """The folder itself, or the first folder in it, that holds train/ and test/; None if there is none."""
    places = (folder, *sorted(folder.iterdir())) if folder.is_dir() else ()
    return next((place for place in places if (place / "train").is_dir() and (place / "test").is_dir()), None)


def found_in(folder: Path, kind: str = "") -> list[Song]:
    """What looks like a track in `train` and `test`, without validation tracks.

    Parameters
    ----------
    folder : Path
    kind : {"", "stem", "wav"}
        The kind of files that is expected, if only one is.

    Raises
    ------
    DataError
        There is no such folder or no track, or both kinds are there.
    """
    place = with_subsets(folder)
    if place is None:
        items = ", ".join(item.name for item in sorted(folder.iterdir())[:5]) or "nothing"
        raise DataError(
            f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ; found {items}"
        )
    found, foreign = [], []
    for subset in ("train", "test"):
        for item in sorted((place / subset).iterdir()):
            song = None if is_foreign(item.name) else _song(item, subset, folder)
            if song is None:
                foreign.append(item.name)
            else:
                found.append(song)
    if not found:
        raise DataError(f"{place}: no tracks; expected train/*{SUFFIX} or train/<track>/mixture.wav")
    there = [song for song in found if not song.problem and any(path.is_file() for path in song.files(folder))]
    kinds = {"stem" if song.stems["mixture"][0].stream else "wav" for song in there}
    if len(kinds) == 2:
        raise DataError(f"{place}: holds {SUFFIX} files and wav folders together; musdb reads one kind: separate them")
    if kind and kinds and kinds != {kind}:
        other = {"stem": "musdb18hq", "wav": "musdb18"}[kind]
        raise DataError(f"{place}: expected {_KINDS[kind]}, found {_KINDS[kinds.pop()]}: that is layout {other}")
    if foreign:
        log.info("%s: skipped %d entries that are no tracks: %s", place, len(foreign), ", ".join(foreign[:5]))
    return found


_KINDS = {"stem": f"{SUFFIX} files", "wav": "folders of wav files"}


def _song(item: Path, subset: str, folder: Path) -> Song | None:
    """A track as it is found on disk; None of texts, pictures and the like."""

    def song(name: str, stems: dict[str, tuple[Audio, ...]], problem: str = "") -> Song:
        artist, _, title = name.partition(" - ")
        return Song(name, stems, subset, (artist,) if title else (), problem)

    path = item.relative_to(folder).as_posix()
    if item.name.endswith(SUFFIX) and item.is_file():
        return song(item.name.removesuffix(SUFFIX), {stream: (Audio(path, stream),) for stream in STREAMS})
    if item.is_dir() and not item.name.endswith(SUFFIX):
        return song(item.name, {stream: (Audio(f"{path}/{stream}.wav"),) for stream in STREAMS})
    if SUFFIX in item.name.lower() or item.suffix.lower() in _ALIKE or not item.exists():
        kind = "folder" if item.is_dir() else "file" if item.exists() else "link to nothing"
        wanted = f"expected NAME{SUFFIX} or a folder of wav files"
        return song(item.name, {}, f"{wanted}, this is a {kind} called {item.name}")
    return None


def songs(kind: str, folder: Path, options: Group) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`; `kind` as of `found_in`."""
    official = _official()
    return [
        Song(song.name, song.stems, "valid", song.groups, song.problem)
        if song.split == "train" and song.name in official
        else song
        for song in found_in(folder, kind)
    ]


def _official() -> set[str]:
    """Names of musdb's validation tracks; none where musdb is not installed, and so nothing can be trained."""
    try:
        # Not by importing musdb, which takes seconds.
        listed = Path(str(distribution("musdb").locate_file("musdb/configs/mus.yaml")))
    except PackageNotFoundError:
        return set()
    return set(yaml.safe_load(listed.read_text())["validation_tracks"])


def recognises(kind: str, folder: Path) -> bool:
    place = with_subsets(folder)
    if place is None or (place / "valid").is_dir():  # MUSDB18 has none
        return False
    wavs = {path.name for subset in ("train", "test") for path in (place / subset).glob("*/*.wav")}
    if kind == "wav" and wavs and "mixture.wav" not in wavs:
        return False
    items = (item for subset in ("train", "test") for item in (place / subset).glob(f"*{SUFFIX}"))
    return any(item.is_file() and not is_foreign(item.name) for item in items) == (kind == "stem")


def layout(kind: str, about: str) -> Layout:
    """The layout of one kind of files."""
    return Layout(about, partial(songs, kind), partial(recognises, kind))


LAYOUTS = {"musdb18": layout("stem", f"train/ and test/ with NAME{SUFFIX} files of five streams")}
