"""Layouts of data sets by name.

A layout is one file in this folder: what it makes of a folder, and `LAYOUTS`, which names the layouts of the file.  The
registry finds every such file by itself (docs/adding.md).  `download.layout` in params.yaml chooses one, or `auto`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from svs.config.schema import Download, Group, parsed
from svs.data.songs import Song, lacking
from svs.errors import DataError, SettingsError

AUTO = "auto"
_LONGEST = 250  # bytes of a name: files are called NAME.json, and no file system takes more than 255


@dataclass(frozen=True)
class Layout:
    """A layout as the registry knows it.

    Parameters
    ----------
    about : str
        What it expects, in a few words.
    songs : callable
        `songs(folder, options)`: the tracks in a folder, a list of `svs.data.songs.Song`, in a fixed order.  It looks
        at names, not into audio.
    recognises : callable
        `recognises(folder)`: whether an existing folder looks like this layout.  It should take no longer than listing
        the folder.
    options : a subclass of `Group`
        Options, which `download.layouts.NAME` in params.yaml sets.
    turn : int
        When `auto` asks it: the general ones last.
    """

    about: str
    songs: Callable[[Path, Any], list[Song]]
    recognises: Callable[[Path], bool]
    options: type[Group] = Group
    turn: int = 0


@cache
def layouts() -> dict[str, Layout]:
    """Every layout by name, in the order in which `auto` asks them."""
    found: dict[str, Layout] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= import_module(f"{__name__}.{module.name}").LAYOUTS
    return dict(sorted(found.items(), key=lambda item: item[1].turn))


def find_layout(name: str) -> Layout:
    """The layout of a name; raises SettingsError if there is none."""
    if name not in layouts():
        raise SettingsError(
            f"download.layout: {name}: no such layout; expected {AUTO} or one of {', '.join(layouts())}"
        )
    return layouts()[name]


def recognised(folder: Path, given: Iterable[str] = ()) -> str:
    """The name of the first layout that recognises a folder; else the only one that has options (`given`).

    Raises
    ------
    DataError
        None does, or there is no such folder.
    """
    if folder.is_dir():
        for name, layout in layouts().items():
            if layout.recognises(folder):
                return name
        if len(named := list(given)) == 1:  # its own patterns may fit where the default ones do not
            return named[0]
        items = [item.name for item in sorted(folder.iterdir())]
        came = f"found {', '.join(items[:5]) or 'nothing'}"
        if any(item.lower().endswith(".csv") for item in items):
            came += "; a CSV needs commas between its columns, one called track, and one called vocals or mixture"
    else:
        came = "there is no such folder"
    raise DataError(
        f"{folder}: expected a folder that holds train/ and test/ of MUSDB18 or MUSDB18-HQ, or one of another layout "
        f"({', '.join(layouts())}); {came}; docs/own-songs.md has an example of each"
    )


def songs(settings: Download, folder: Path) -> tuple[str, list[Song]]:
    """The layout of a folder, and its tracks as the layout found them; broken ones say what their problem is.

    Parameters
    ----------
    settings : Download
        Names the layout (or `auto`) and holds its options.
    folder : Path

    Raises
    ------
    DataError
        No layout recognises the folder, there is no track in it, or a folder in it can't be looked into.
    SettingsError
        There is no such layout, or an option is impossible.
    """
    folder = Path(folder)
    try:
        name, found = _found(settings, folder)
        return name, _checked(found, folder)
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: can't look into it ({error.strerror}); make it readable, or take it out of "
            f"{folder}"
        ) from None


def _found(settings: Download, folder: Path) -> tuple[str, list[Song]]:
    """The layout of a folder, and its tracks as the layout found them."""
    name = recognised(folder, settings.layouts) if settings.layout == AUTO else settings.layout
    layout = find_layout(name)
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of the layout {name} ({layout.about}); there is no such folder")
    for other in settings.layouts:
        find_layout(other)
    options = parsed(layout.options, f"download.layouts.{name}", settings.layouts.get(name, {}))
    found = layout.songs(folder, options)
    if not found:
        raise DataError(f"{folder}: no tracks; the layout {name} expects {layout.about}")
    return name, found


def _checked(found: Sequence[Song], folder: Path) -> list[Song]:
    """The songs with their problems that show without decoding."""
    seen: set[tuple[str, str]] = set()
    checked = []
    for song in found:
        problem = song.problem or lacking(song.stems)
        missing = [path.name for path in song.files(folder) if not path.is_file()]
        if missing and not song.problem:
            problem = f"missing {', '.join(missing)}"
        if (song.subset, song.name) in seen:
            problem = "another track has the same name"
        if not song.name.strip(". ") or set(song.name) & set("/\\\0"):
            problem = "expected a name that can be that of a folder"
        if (length := len(song.name.encode(errors="surrogateescape"))) > _LONGEST:
            problem = (
                f"expected a name of at most {_LONGEST} bytes, found {length}; shorten it, or those of its folders"
            )
        written = "".join((song.name, *map(str, song.files(folder))))
        if any("\udc80" <= letter <= "\udcff" for letter in written):  # bytes that are no UTF-8
            problem = "expected names of folders and files in UTF-8; rename what has other bytes (convmv does)"
        seen.add((song.subset, song.name))
        checked.append(replace(song, problem=problem))
    return checked
