"""DSD100 (SiSEC 2016): `Mixtures/{Dev,Test}/TRACK/mixture.wav`, `Sources/{Dev,Test}/TRACK/{drums,...}.wav`."""

from __future__ import annotations

from pathlib import Path

from svs.config.schema import Group
from svs.data.layouts import Layout
from svs.data.songs import Audio, Song
from svs.runtime.files import is_foreign
from svs.stems import MIXTURE, STREAMS

_SPLITS = {"Dev": "train", "Test": "test"}


def _place(folder: Path) -> Path | None:
    """The folder that holds `Mixtures` and `Sources`: this one, or `DSD100` in it."""
    places = (folder, folder / "DSD100")
    return next((each for each in places if (each / "Mixtures").is_dir() and (each / "Sources").is_dir()), None)


def songs(folder: Path, options: Group) -> list[Song]:
    """See `svs.data.layouts.Layout.songs`.  A track is called `NUMBER - ARTIST - TITLE`; its group is the artist."""
    found: list[Song] = []
    place = _place(folder)
    if place is None:
        return found
    for subset, split in _SPLITS.items():
        # A track that lacks its mixture or its sources is a broken one.
        items = [item for kind in ("Mixtures", "Sources") for item in place.glob(f"{kind}/{subset}/*")]
        for name in sorted({item.name for item in items if item.is_dir() and not is_foreign(item.name)}):
            mixtures, sources = (
                (place / each / subset / name).relative_to(folder).as_posix() for each in ("Mixtures", "Sources")
            )
            stems = {stem: (Audio(f"{mixtures if stem == MIXTURE else sources}/{stem}.wav"),) for stem in STREAMS}
            found.append(Song(name, stems, split, tuple(name.split(" - ")[1:-1])))
    return found


LAYOUTS = {
    "dsd100": Layout(
        "Mixtures/{Dev,Test}/TRACK and Sources/{Dev,Test}/TRACK", songs, lambda folder: _place(folder) is not None
    )
}
