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
    folder: Annotated[Path, Argument(help="Folder of the songs.", metavar="FOLDER")],
    layout: Annotated[
        str | None,
        Option("--layout", help="How they are laid out (docs/own-songs.md).", show_default="download.layout"),
    ] = None,
) -> None:
    """What svs makes of a folder of songs: layout, tracks, splits, seconds, rates, and what is wrong.

    Every file is decoded, nothing is written.  Where the pipeline would stop, the exit code is not 0.  To let the
    pipeline take the folder: `-S profiles.full.download.path=FOLDER`.
    """
    from svs.data import inspection
    from svs.data.dataset import Manifest, Track

    settings = common.open(after=assignments("download", layout=layout)).settings
    download = settings.download
    name, songs = inspection.find_songs(download, settings.seed, folder)
    looked = inspection.look(download, folder, songs)
    tracks = [track for track in looked if isinstance(track, Track)]
    manifest = Manifest(download.dataset, tracks, name)
    print(f"{folder}: layout {name}, {len(songs)} tracks, {sum(track.seconds for track in tracks):.1f} s\n")
    print(_table(songs, looked))
    for split in SPLITS:
        if chosen := manifest.split(split):
            print(_summary(split, chosen))
    bad = [f"{song.name}: {track}" for song, track in zip(songs, looked, strict=True) if isinstance(track, str)]
    silent = [f"{track.name}: its vocals are silent" for track in tracks if track.silent_vocals]
    whole = _whole(manifest)
    if bad or silent or whole:
        print("\nwhat is wrong\n" + "\n".join(f"  {line}" for line in (*bad, *silent, *whole)))
    ends = [(bad, download.on_bad_track), (silent, download.on_silent_vocals), (whole, "error")]
    if count := sum(len(lines) for lines, action in ends if action == "error"):
        raise DataError(f"{folder}: {count} problems at which the pipeline would stop; see above")


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
