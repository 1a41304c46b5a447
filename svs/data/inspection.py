"""Inspect every track of a data set, and assign its split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import yaml

from svs.audio.sources import Source, WavSource
from svs.config.schema import Download
from svs.data.dataset import SILENT, Manifest, Track, open_sources
from svs.data.musdb import Candidate, candidates, decoded, entries, with_subsets
from svs.errors import DataError
from svs.runtime.files import sha256
from svs.runtime.parallel import over_tracks
from svs.stems import STREAMS

log = logging.getLogger("svs")
_BLOCK = 1 << 20  # samples inspected at a time


def inspect(
    settings: Download,
    seed: int,
    folder: Path,
    validation: Sequence[str],
    wanted: Callable[[str, str], bool] = lambda subset, name: True,
) -> Manifest:
    """Inspect every track and list those that can be used.

    Test tracks have the split `test`.  Training tracks are `unused` if
    `exclude_from_training` matches them, `valid` if `validation` (or else musdb,
    or else a random draw) names them, and `train` otherwise.

    Parameters
    ----------
    settings : Download
    seed : int
        Of the random draw of validation tracks.
    folder : Path
        Contains `train` and `test`.
    validation : sequence of str
        Names of the validation tracks; may be empty.
    wanted : callable
        Tracks for which `wanted(subset, name)` is false are left out.

    Raises
    ------
    DataError
        A track is broken (or its vocals silent) and the settings say `error`; or no track is left.
    """
    chosen = [candidate for candidate in candidates(folder) if wanted(candidate.subset, candidate.name)]
    if foreign := entries(folder)[1]:
        names = ", ".join(item.name for item in foreign[:5])
        log.info("%s: skipped %d entries that are no tracks: %s", folder, len(foreign), names)
    look = partial(_inspect_track, rate=settings.sample_rate)
    results = over_tracks(look, chosen, [candidate.name for candidate in chosen], desc="inspect")
    good = []
    for candidate, result in zip(chosen, results, strict=True):
        name, switch, problem = f"{candidate.subset}/{candidate.name}", "on_bad_track", result
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
    if not good:
        raise DataError(f"{folder}: no track is usable; see the warnings above")
    return Manifest(settings.dataset, _split(good, settings, seed, validation))


def _split(tracks: list[Track], settings: Download, seed: int, validation: Sequence[str]) -> list[Track]:
    names = [track.name for track in tracks if track.subset == "train"]
    unused = {name for name in names if name.startswith(tuple(settings.exclude_from_training))}
    trainable = [name for name in names if name not in unused]
    if not validation:
        # Not by importing musdb, which takes seconds.
        listed = Path(str(distribution("musdb").locate_file("musdb/configs/mus.yaml")))
        official = yaml.safe_load(listed.read_text())["validation_tracks"]
        validation = [name for name in trainable if name in official]
    if not validation and len(trainable) > 1:
        count = max(1, round(settings.validation_fraction * len(trainable)))
        validation = list(np.random.default_rng([seed, 1]).choice(sorted(trainable), count, replace=False))

    def split(track: Track) -> str:
        if track.subset == "test":
            return "test"
        return "unused" if track.name in unused else "valid" if track.name in validation else "train"

    return [replace(track, split=split(track)) for track in tracks]


def _inspect_track(candidate: Candidate, rate: int | None) -> Track | str:
    """The track without its split, or what is wrong with it in a few words.  Rate None: any rate is accepted."""
    if candidate.problem:
        return candidate.problem
    missing = [file.name for file in candidate.files() if not file.is_file()]
    if missing:
        return "missing " + ", ".join(missing)
    try:
        with decoded(candidate, STREAMS) as wavs:
            sources = {name: WavSource(path) for name, path in wavs.items()}
            rates = {source.rate for source in sources.values()}
            rate = rate or min(rates)
            if rates != {rate}:
                return f"expected {rate} Hz, found {', '.join(map(str, sorted(rates)))} Hz"
            if any(source.channels != 2 for source in sources.values()):
                return f"expected stereo, found {sorted({source.channels for source in sources.values()})} channels"
            lengths = {source.samples for source in sources.values()}
            if len(lengths) != 1:
                return f"its stems differ in length: {sorted(lengths)} samples"
            samples = lengths.pop()
            if samples == 0:
                return "it holds no audio"
            peaks = {}
            for name, source in sources.items():
                blocks = (source.read(start, min(start + _BLOCK, samples)) for start in range(0, samples, _BLOCK))
                peaks[name] = float(np.max([np.abs(block).max() for block in blocks]))
                if not np.isfinite(peaks[name]):
                    return f"{name} holds NaN or infinite samples"
    except DataError as error:
        return str(error)
    checksum, silent = sha256(candidate.files()), peaks["vocals"] < SILENT
    return Track(candidate.name, candidate.subset, "", samples, rate, checksum, silent)


def _test_tracks(folder: Path) -> list[Candidate]:
    return [candidate for candidate in candidates(with_subsets(folder)) if candidate.subset == "test"]


def list_test_tracks(folder: Path) -> list[str]:
    """Names of the test tracks of a folder that contains train/ and test/."""
    return [candidate.name for candidate in _test_tracks(folder)]


def find_test_track(folder: Path, name: str) -> Candidate:
    """A test track by its name, or by a part of the name that no other track has.

    Raises
    ------
    DataError
        No track or several tracks have that name.
    """
    tests = _test_tracks(folder)
    meant = [candidate for candidate in tests if candidate.name == name] or [
        candidate for candidate in tests if name.casefold() in candidate.name.casefold()
    ]
    if len(meant) != 1:
        raise DataError(
            f"{name!r}: expected one of {folder}'s {len(tests)} test tracks, found {len(meant)}: "
            + "; ".join(candidate.name for candidate in (meant or tests)[:5])
        )
    return meant[0]


@contextmanager
def open_test_track(
    folder: Path, name: str, names: Sequence[str] = ("mixture", "vocals", "accompaniment")
) -> Iterator[tuple[str, dict[str, Source]]]:
    """Open a test track (see `find_test_track`): name and sources.

    Raises
    ------
    DataError
        No track or several tracks have that name, or the files are broken.
    """
    candidate = find_test_track(folder, name)
    track = _inspect_track(candidate, None)
    if isinstance(track, str):
        raise DataError(f"track test/{candidate.name}: {track}")
    with open_sources(candidate, names, track.samples) as sources:
        yield candidate.name, sources
