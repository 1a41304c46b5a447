"""`svs inspect`: what svs makes of a folder of songs, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from svs.cli.options import Tuned, assignments
from svs.errors import DataError

if TYPE_CHECKING:
    from svs.data.dataset import Manifest, Track
    from svs.data.songs import Song

SPLITS = ("train", "valid", "test", "unused")


def inspect(
    common: Tuned,
    folder: Annotated[
        Path | None, Argument(help="Folder of the songs.", metavar="FOLDER", show_default="the project's data sets")
    ] = None,
    layout: Annotated[
        str | None,
        Option("--layout", help="How they are laid out (docs/own-songs.md).", show_default="download.layout"),
    ] = None,
) -> None:
    """What svs finds in a folder of songs: layout, tracks, splits, seconds, rates, and what is wrong.

    Every file is decoded, nothing is written.  Where the pipeline would stop, the exit code is not 0.  To let the
    pipeline take the folder: `-S profile=own -S profiles.own.download.path=FOLDER`.
    """
    from svs.config import paths
    from svs.data import inspection
    from svs.data.dataset import Manifest, Track

    here = common.open(after=assignments("download", layout=layout))
    settings = here.settings
    download = settings.download if folder is None else settings.download.each()[0]
    if folder is None:
        root = here.path(paths.DATASETS)
        places = {one.dataset: here.path(one.path) if one.path else root / one.dataset for one in download.each()}
    else:
        places = {download.dataset: folder}
    manifests, bad, silent = [], [], []
    for one in download.each():
        place = places[one.dataset]
        name, songs = inspection.find_songs(one, settings.seed, place)
        looked = inspection.look(one, place, songs)
        tracks = [track for track in looked if isinstance(track, Track)]
        kept = [track for track in tracks if download.keeps(one.dataset, track.split)]
        manifests.append(Manifest(one.dataset, kept, name))
        print(f"{place}: layout {name}, {len(songs)} tracks, {sum(track.seconds for track in tracks):.1f} s\n")
        print(_table(songs, looked))
        for split in SPLITS:
            if chosen := manifests[-1].split(split):
                print(_summary(split, chosen))
        bad += [f"{song.name}: {track}" for song, track in zip(songs, looked, strict=True) if isinstance(track, str)]
        silent += [f"{track.name}: its vocals are silent" for track in tracks if track.silent_vocals]
    whole = _whole(Manifest.joined(manifests))
    if bad or silent or whole:
        print("\nwhat is wrong\n" + "\n".join(f"  {line}" for line in (*bad, *silent, *whole)))
    ends = [(bad, download.on_bad_track), (silent, download.on_silent_vocals), (whole, "error")]
    if count := sum(len(lines) for lines, action in ends if action == "error"):
        raise DataError(
            f"{', '.join(map(str, places.values()))}: {count} problems at which the pipeline would stop; see above"
        )


def _table(songs: Sequence[Song], looked: Sequence[Track | str]) -> str:
    """A line for each track: split, seconds, rate, channels, stems."""
    width = min(max(len(song.name) for song in songs), 60)
    lines = [f"{'track':<{width}}  split   seconds     Hz  channels  stems"]
    for song, track in zip(songs, looked, strict=True):
        known = f"{'':>26}" if isinstance(track, str) else f"{track.seconds:7.1f} {track.rate:6d} {track.channels:9d} "
        lines.append(f"{song.name:<{width}}  {song.split:<6} {known}  {', '.join(song.stems)}")
    return "\n".join(lines) + "\n"


def _summary(split: str, tracks: Sequence[Track]) -> str:
    seconds = sum(track.seconds for track in tracks)
    rates = "/".join(map(str, sorted({track.rate for track in tracks})))
    channels = "/".join(map(str, sorted({track.channels for track in tracks})))
    return f"{split:<6} {len(tracks):5d} tracks {seconds:9.1f} s  {rates} Hz, {channels} channels"


def _whole(manifest: Manifest) -> list[str]:
    """What is wrong with the data set as a whole, a line each."""
    leaks = [
        f"{one.name}: is trained on, and has the {what} of the test track {other.name}"
        for one, other, what in manifest.leaks()
    ]
    return [*leaks, *(f"there is no {split} track" for split in SPLITS[:3] if not manifest.split(split))]
