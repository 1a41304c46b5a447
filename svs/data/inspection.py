"""Look into every track of a data set, and give each its split."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from svs.audio.sources import Source, WavSource
from svs.config.schema import Download
from svs.data.dataset import SILENT, Manifest, Track, open_sources
from svs.data.musdb import Candidate, candidates, decoded, with_subsets
from svs.errors import DataError
from svs.runtime.files import sha256
from svs.runtime.parallel import each_in_parallel
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
    """Look into every track and list those that can be used.

    Where `wanted(subset, name)` is false, a track is passed over.

    Splits: test tracks are `test`.  Training tracks are `valid` where the set
    names them so (or musdb does; else a share drawn by `seed`), `unused` where
    `exclude_from_training` says so, and `train` otherwise.

    Raises
    ------
    DataError
        A track is broken (or its vocals silent) and the settings say `error`.
    """
    wanted_ones = [candidate for candidate in candidates(folder) if wanted(candidate.subset, candidate.name)]
    results = each_in_parallel(
        partial(_inspect_track, rate=settings.sample_rate), wanted_ones, unit="track", desc="inspect"
    )
    good = []
    for candidate, result in zip(wanted_ones, results, strict=True):
        problem = result if isinstance(result, str) else None
        action = settings.on_bad_track
        if problem is None and result.silent_vocals:
            problem, action = "its vocals are silent", settings.on_silent_vocals
        if problem is None or action == "keep":
            if problem:
                log.warning("%s: %s", candidate.name, problem)
            good.append(result)
        elif action == "error":
            switch = "on_silent_vocals" if not isinstance(result, str) else "on_bad_track"
            raise DataError(
                f"track {candidate.subset}/{candidate.name}: {problem}; mend or remove it, "
                f"or set download.{switch}: skip to leave it out"
            )
        else:
            log.warning("left out %s/%s: %s", candidate.subset, candidate.name, problem)
    if not good:
        raise DataError(f"{folder}: not one track is usable; see the warnings above")
    return Manifest(settings.dataset, _split(good, settings, seed, validation))


def _split(tracks: list[Track], settings: Download, seed: int, validation: Sequence[str]) -> list[Track]:
    unused = {
        track.name
        for track in tracks
        if track.subset == "train" and any(track.name.startswith(start) for start in settings.exclude_from_training)
    }
    trainable = [track.name for track in tracks if track.subset == "train" and track.name not in unused]
    if not validation:
        import yaml

        # Found, but not imported: that takes seconds.
        package = Path(find_spec("musdb").origin).parent
        official = yaml.safe_load((package / "configs" / "mus.yaml").read_text())["validation_tracks"]
        validation = [name for name in trainable if name in set(official)]
    if not validation and len(trainable) > 1:
        count = max(1, round(settings.validation_fraction * len(trainable)))
        validation = list(np.random.default_rng([seed, 1]).choice(sorted(trainable), count, replace=False))

    def split(track: Track) -> str:
        if track.subset == "test":
            return "test"
        return "unused" if track.name in unused else "valid" if track.name in validation else "train"

    return [Track(**{**asdict(track), "split": split(track)}) for track in tracks]


def _inspect_track(candidate: Candidate, rate: int | None) -> Track | str:
    """The track, or what is wrong with it in a few words (any rate will do where none is expected)."""
    missing = [file.name for file in candidate.files() if not file.is_file()]
    if missing:
        return "missing " + ", ".join(missing)
    try:
        with decoded(candidate, STREAMS) as wavs:
            sources = {name: WavSource(path) for name, path in wavs.items()}
            rates = {source.rate for source in sources.values()}
            if rates != {rate or min(rates)}:
                return f"expected {rate or min(rates)} Hz, found {', '.join(map(str, sorted(rates)))} Hz"
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
                peak = 0.0
                for start in range(0, samples, _BLOCK):
                    block = source.read(start, min(start + _BLOCK, samples))
                    peak = float(np.maximum(peak, np.abs(block).max(initial=0.0)))  # a NaN stays one
                    if not np.isfinite(peak):
                        return f"{name} holds NaN or infinite samples"
                peaks[name] = peak
    except DataError as error:
        return str(error)
    return Track(
        candidate.name, candidate.subset, "", samples, rate, sha256(candidate.files()), peaks["vocals"] < SILENT
    )


def list_test_tracks(folder: Path) -> list[str]:
    """Names of the test tracks of a folder that holds train/ and test/."""
    return [candidate.name for candidate in candidates(with_subsets(folder)) if candidate.subset == "test"]


@contextmanager
def open_test_track(
    folder: Path, name: str, names: Sequence[str] = ("mixture", "vocals", "accompaniment")
) -> Iterator[tuple[str, dict[str, Source]]]:
    """Name and sources of a test track by its name, or by a part of it that no other has.

    Raises
    ------
    DataError
        There is no such track, several are meant, or its files are broken.
    """
    tests = [candidate for candidate in candidates(with_subsets(folder)) if candidate.subset == "test"]
    meant = [candidate for candidate in tests if candidate.name == name] or [
        candidate for candidate in tests if name.casefold() in candidate.name.casefold()
    ]
    if len(meant) != 1:
        raise DataError(
            f"{name!r}: expected one of {folder}'s {len(tests)} test tracks, found {len(meant)}: "
            + "; ".join(candidate.name for candidate in (meant or tests)[:5])
        )
    track = _inspect_track(meant[0], None)
    if isinstance(track, str):
        raise DataError(f"track test/{meant[0].name}: {track}")
    with open_sources(meant[0], names, track.samples) as sources:
        yield meant[0].name, sources
