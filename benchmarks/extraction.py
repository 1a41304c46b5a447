"""Extraction beside bare decoding: the same tracks through `svs.extraction`, and through ffmpeg alone, five streams.

    python -m benchmarks.extraction FOLDER [--tracks 16] [--rounds 3]

FOLDER holds MUSDB18 or its previews as .stem.mp4 (train/ and test/).  Both do
the first training tracks, in turns; the seconds are medians of the rounds.
Inspecting the tracks, which `download` does, comes before.  musdb's own reader
does the same tracks once.  The seed's preprocessing cut 47,850 excerpts of 87
tracks in 10 h 15 min; the store of those tracks, from which any number of
excerpts is cut, is extrapolated by the length of the music.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from svs import dataset, extraction, settings
from svs.dataset import STREAMS, SUFFIX, Dataset, Manifest
from svs.files import Scratch
from svs.running import main

SEED_SECONDS = (10 * 60 + 15) * 60.0
FULL_SECONDS = 87 * 240.0            # of music: MUSDB18's 150 tracks are 10 h


def some_tracks(folder: Path, count: int) -> Dataset:
    """The first training tracks, as stage `download` would list them."""
    place, _ = dataset.at(folder)
    names = sorted(path.name.removesuffix(SUFFIX) for path in (place / "train").glob(f"*{SUFFIX}"))[:count]
    options = settings.load().download.model_copy(update={"exclude_from_training": ()})
    manifest = dataset.inspect(options, 0, place, names[:1], lambda subset, name: subset == "train" and name in names)
    return Dataset(place, Manifest(manifest.dataset, manifest.tracks))


def decode(data: Dataset) -> None:
    """Five streams of every track through one ffmpeg after the other, to nowhere."""
    for track in data.manifest.tracks:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-i",
                   str(data.folder / track.subset / f"{track.name}{SUFFIX}")]
        for stream in range(len(STREAMS)):
            command += ["-map", f"0:a:{stream}"]
        subprocess.run([*command, "-f", "null", "-"], check=True)


def extract(data: Dataset, options: settings.Extract, folder: Path) -> None:
    """The store of stage `extract`."""
    extraction.extract(data, options, folder / "store", Scratch(folder, "extract", "bench"))


def read_by_musdb(data: Dataset) -> None:
    wanted = {track.name for track in data.manifest.tracks}
    for track in dataset.musdb_tracks(data.folder, "train"):
        if track.name in wanted:
            track.audio, track.stems  # noqa: B018 (each reading decodes)


def seconds_of(function, *arguments: object) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def measured(folder: Path, tracks: int, rounds: int, store: Path | None = None) -> dict:
    """Seconds of both, and their ratio; the last store is left in `store`."""
    data = some_tracks(folder, tracks)
    took = []
    for index in range(rounds + 1):                     # the first pays for imports and cold files
        with tempfile.TemporaryDirectory() as temporary:
            place = store if store is not None and index == rounds else Path(temporary)
            place.mkdir(parents=True, exist_ok=True)
            took.append((seconds_of(decode, data), seconds_of(extract, data, place)))
    bare, ours = np.median(took[1:], axis=0)
    music = sum(track.seconds for track in data.manifest.tracks)
    return {"tracks": len(data.manifest.tracks), "music_seconds": music, "ffmpeg_seconds": bare, "seconds": ours,
            "ratio": float(np.median([one / two for one, two in took[1:]])),
            "musdb_seconds": seconds_of(read_by_musdb, data), "full_seconds": ours / music * FULL_SECONDS,
            "times_the_seed": SEED_SECONDS / (ours / music * FULL_SECONDS)}


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    found = measured(options.folder, options.tracks, options.rounds)
    print(f"{found['tracks']} tracks, {found['music_seconds']:.0f} s: ffmpeg alone {found['ffmpeg_seconds']:.2f} s, "
          f"extraction {found['seconds']:.2f} s: {found['ratio']:.2f} of its speed; musdb reads them in "
          f"{found['musdb_seconds']:.2f} s")
    print(f"the seed's 87 tracks: {found['full_seconds'] / 60:.0f} min, {found['times_the_seed']:.0f} times as fast")


if __name__ == "__main__":
    main(run, sys.argv[1:])
