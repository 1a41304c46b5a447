"""Inspect every track of a data set, and write down what later stages need to know of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from svs.audio.sources import Source
from svs.config.schema import Download
from svs.data import layouts, songs, splits
from svs.data.dataset import SILENT, Manifest, Track, open_sources
from svs.data.songs import Song
from svs.errors import DataError
from svs.runtime.files import sha256
from svs.runtime.parallel import over_tracks
from svs.stems import MIXTURE, TARGETS, VOCALS

log = logging.getLogger("svs")
_BLOCK = 1 << 20  # samples inspected at a time


def find_songs(settings: Download, seed: int, folder: Path) -> tuple[str, list[Song]]:
    """The layout of a folder, and its tracks with their splits, without looking into audio.

    Parameters
    ----------
    settings : Download
    seed : int
        Of random draws of splits.
    folder : Path

    Raises
    ------
    DataError
        No layout recognises the folder, there is no track in it, or a list of `download.split` names none of them.
    SettingsError
        There is no such layout, or it has no such option.
    """
    layout, found = layouts.songs(settings, folder)
    found = splits.assign(found, settings, seed)
    seen: set[tuple[str, str]] = set()
    for place, song in enumerate(found):  # names that the data set's own splits told apart
        if (song.subset, song.name) in seen and not song.problem:
            found[place] = replace(song, problem="another track has the same name")
        seen.add((song.subset, song.name))
    return layout, found


def look(settings: Download, folder: Path, found: Sequence[Song]) -> list[Track | str]:
    """Look into the audio of songs, in parallel: the track of each, or what is wrong with it in a few words."""
    one = partial(_look, folder=folder, settings=settings)
    return over_tracks(one, found, [song.name for song in found], desc="inspect")


def inspect(
    settings: Download, seed: int, folder: Path, wanted: Callable[[Song], bool] = lambda song: True
) -> Manifest:
    """Inspect every track and list those that can be used.

    Parameters
    ----------
    settings : Download
        The layout, the splits, and what to do with tracks that have defects.
    seed : int
        Of random draws of splits.
    folder : Path
    wanted : callable
        Tracks for which `wanted(song)` is false are left out; `song.split` is final.

    Raises
    ------
    DataError
        As `find_songs`; a track is broken (or its vocals silent) and the settings say `error`; or no track is left.
    """
    manifest = _inspected(settings, seed, Path(folder), wanted)
    if not manifest.tracks:
        raise DataError(f"{folder}: no track is usable; see the warnings above")
    return manifest


def inspect_each(settings: Download, seed: int, folders: Mapping[str, Path]) -> Manifest:
    """Inspect every data set, and join them.

    The test tracks of those that are not scored (`download.scored`) and the other tracks of those that are not trained
    on (`download.trained`) are left out.

    Parameters
    ----------
    settings : Download
    seed : int
        Of random draws of splits.
    folders : mapping of str to Path
        Of the data sets by name.

    Raises
    ------
    DataError
        As `inspect`.
    """

    def inspected(one: Download) -> Manifest:
        return _inspected(one, seed, folders[one.dataset], lambda song: settings.keeps(one.dataset, song.split))

    manifest = Manifest.joined([inspected(one) for one in settings.each()])
    if not manifest.tracks:
        raise DataError(f"{', '.join(map(str, folders.values()))}: no track is usable; see the warnings above")
    return manifest


def _inspected(settings: Download, seed: int, folder: Path, wanted: Callable[[Song], bool]) -> Manifest:
    """The usable tracks of a data set; parameters and errors as of `inspect`, but there may be none."""
    layout, found = find_songs(settings, seed, folder)
    chosen = [song for song in found if wanted(song)]
    good = []
    for song, result in zip(chosen, look(settings, folder, chosen), strict=True):
        name, switch, problem = f"{song.subset}/{song.name}", "on_bad_track", result
        if isinstance(result, Track):
            if not result.silent_vocals or settings.on_silent_vocals == "keep":
                good.append(result)
            if not result.silent_vocals:
                continue
            switch, problem = "on_silent_vocals", "its vocals are silent"
        action = getattr(settings, switch)
        if action == "error":
            raise DataError(
                f"track {name}: {problem}; repair or remove it, or set download.{switch}: skip to leave it out"
            )
        log.warning("%s%s: %s", "left out " if action == "skip" else "", name, problem)
    return Manifest(settings.dataset, good, layout)


def _look(song: Song, folder: Path, settings: Download) -> Track | str:
    """The track, or what is wrong with it in a few words."""
    if song.problem:
        return song.problem
    try:
        with songs.opened(song.stems, folder) as found:
            rate, channels = songs.common_form(found, settings.sample_rate)
            if channels > 2:
                return f"expected mono or stereo, found {channels} channels"
            found = songs.at_rate(found, rate)
            lengths = sorted({source.samples for sources in found.values() for source in sources})
            samples, apart = lengths[0], 1000 * (lengths[-1] - lengths[0]) / rate
            if samples == 0:
                return "it holds no audio"
            if apart > settings.length_tolerance:
                return (
                    f"its stems differ in length: {lengths} samples, by {apart:.0f} ms; expected at most "
                    f"{settings.length_tolerance:g} ms (download.length_tolerance)"
                )
            names = dict.fromkeys((*found, MIXTURE, VOCALS))
            peaks, checksums = _heard(songs.assembled(found, channels, samples, names), samples)
    except DataError as error:
        return str(error)
    audio = {name: checksums[name] for name in (MIXTURE, VOCALS) if peaks[name] >= SILENT}
    checksum = sha256(sorted(song.files(folder)))
    return Track(
        song.name, song.split, samples, rate, channels, checksum, peaks[VOCALS] < SILENT, dict(song.stems), audio
    )


def _heard(sources: Mapping[str, Source], samples: int) -> tuple[dict[str, float], dict[str, str]]:
    """Peaks of sources, and checksums of the samples of mixture and vocals; DataError if some are not finite."""
    peaks = dict.fromkeys(sources, 0.0)
    digests = {name: hashlib.sha256() for name in (MIXTURE, VOCALS)}
    for start in range(0, samples, _BLOCK):
        for name, source in sources.items():
            block = source.read(start, min(start + _BLOCK, samples))
            peak = float(np.abs(block).max())
            if not np.isfinite(peak):
                raise DataError(f"{name} holds NaN or infinite samples")
            peaks[name] = max(peaks[name], peak)
            if name in digests:
                digests[name].update(np.ascontiguousarray(block, dtype="<f4").tobytes())
    return peaks, {name: digest.hexdigest() for name, digest in digests.items()}


def list_test_songs(settings: Download, seed: int, folder: Path) -> list[Song]:
    """The test tracks of a data set; parameters and errors as of `find_songs`."""
    return [song for song in find_songs(settings, seed, folder)[1] if song.split == "test"]


def find_test_song(tests: Sequence[Song], folder: Path, name: str) -> Song:
    """One of the test tracks of a data set in `folder`, by its name, or by a part of it that no other track has.

    Raises
    ------
    DataError
        No track or several tracks have that name.
    """
    meant = [song for song in tests if song.name == name] or [
        song for song in tests if name.casefold() in song.name.casefold()
    ]
    if len(meant) != 1:
        raise DataError(
            f"{name!r}: expected one of {folder}'s {len(tests)} test tracks, found {len(meant)}: "
            + "; ".join(song.name for song in (meant or tests)[:5])
        )
    return meant[0]


@contextmanager
def open_test_track(settings: Download, seed: int, folder: Path, name: str) -> Iterator[tuple[str, dict[str, Source]]]:
    """Open a test track (see `find_test_song`): name, and the sources of mixture, vocals and accompaniment.

    Raises
    ------
    DataError
        No track or several tracks have that name, or the files are broken; or as `find_songs`.
    """
    song = find_test_song(list_test_songs(settings, seed, folder), folder, name)
    track = _look(song, folder, settings)
    if isinstance(track, str):
        raise DataError(f"track test/{song.name}: {track}")
    with open_sources(track, folder, (MIXTURE, *TARGETS)) as sources:
        yield song.name, sources
