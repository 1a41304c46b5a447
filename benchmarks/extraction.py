"""Extraction beside bare decoding: the same tracks through `svs.features.extraction`, and through ffmpeg alone.

    python -m benchmarks.extraction FOLDER [--tracks 16] [--rounds 5]

FOLDER holds MUSDB18 or its previews as .stem.mp4 (train/ and test/).  Both do
the first training tracks, in turns; the seconds are medians of the rounds.
ffmpeg decodes one track after the other, as a person would call it, and keeps
one core busy; extraction uses all.  CPU seconds of both, ffmpeg's inside
extraction included, are shown beside.  Extraction is measured as the pipeline
does it and without the stems' audio (mode MIX), which the dissertation did not keep.
Inspecting the tracks, which `download` does, comes before.  musdb's own reader
does the same tracks once.  The dissertation's preprocessing cut 47,850 excerpts of 87
tracks in 10 h 15 min; the store of those tracks, from which any number of
excerpts is cut, is extrapolated by the length of the music.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import musdb
import numpy as np

from svs.config import schema
from svs.data import inspection
from svs.data.dataset import Dataset
from svs.data.musdb import SUFFIX
from svs.features import extraction
from svs.runtime.files import Scratch
from svs.runtime.parallel import cores
from svs.runtime.process import main
from svs.stems import STREAMS

SEED_SECONDS = (10 * 60 + 15) * 60.0
FULL_SECONDS = 87 * 240.0  # of music: MUSDB18's 150 tracks are 10 h


def some_tracks(folder: Path, count: int) -> Dataset:
    """The first training tracks, as stage `download` would list them."""
    names = sorted(path.name.removesuffix(SUFFIX) for path in (folder / "train").glob(f"*{SUFFIX}"))[:count]
    options = schema.load().download
    split = options.split.model_copy(update={"by": "list", "valid": tuple(names[:1])})
    options = options.model_copy(update={"exclude_from_training": (), "split": split})
    return Dataset(
        folder, inspection.inspect(options, 0, folder, lambda song: song.subset == "train" and song.name in names)
    )


def decode(data: Dataset) -> None:
    """Five streams of every track through one ffmpeg after the other, to nowhere."""
    for track in data.manifest.tracks:
        command = ["ffmpeg", "-v", "error", "-nostdin", "-i", str(data.folder / track.subset / f"{track.name}{SUFFIX}")]
        for stream in range(len(STREAMS)):
            command += ["-map", f"0:a:{stream}"]
        subprocess.run([*command, "-f", "null", "-"], check=True)


def extract(data: Dataset, options: schema.Extract, folder: Path) -> None:
    """The store of stage `extract`."""
    extraction.extract(data, options, folder / "store", Scratch(folder, "extract", "bench"))


def read_by_musdb(data: Dataset) -> None:
    wanted = {track.name for track in data.manifest.tracks}
    for track in musdb.DB(root=str(data.folder), subsets="train"):
        if track.name in wanted:
            track.audio, track.stems  # noqa: B018 (each reading decodes)


def seconds_of(function, *arguments: object) -> tuple[float, float]:
    """Seconds by the clock, and of the processor: of this process and of the programs that it has run."""
    start, before = time.perf_counter(), cpu()
    function(*arguments)
    return time.perf_counter() - start, cpu() - before


def cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measured(folder: Path, tracks: int, rounds: int, store: Path | None = None, *, musdb: bool = True) -> dict:
    """Seconds of both, and their ratio, with and without MIX; the last store is left in `store`."""
    data = some_tracks(folder, tracks)
    whole = schema.load().extract
    bare = whole.model_copy(update={"modes": tuple(mode for mode in whole.modes if mode != "MIX")})
    took = []
    for index in range(rounds + 1):  # the first pays for imports and cold files
        with tempfile.TemporaryDirectory() as temporary:
            place = store if store is not None and index == rounds else Path(temporary) / "whole"
            for folder_of_store in (place, Path(temporary) / "bare"):
                folder_of_store.mkdir(parents=True, exist_ok=True)
            took.append(
                (
                    seconds_of(decode, data),
                    seconds_of(extract, data, whole, place),
                    seconds_of(extract, data, bare, Path(temporary) / "bare"),
                )
            )
    clock, processor = np.moveaxis(np.array(took[1:]), -1, 0)
    music = sum(track.seconds for track in data.manifest.tracks)
    ours = float(np.median(clock[:, 1]))
    full = ours / music * FULL_SECONDS
    found = {
        "tracks": len(data.manifest.tracks),
        "music_seconds": music,
        "seconds": ours,
        "ffmpeg_seconds": float(np.median(clock[:, 0])),
        "seconds_without_mix": float(np.median(clock[:, 2])),
        "ratio": float(np.median(clock[:, 0] / clock[:, 1])),
        "ratio_without_mix": float(np.median(clock[:, 0] / clock[:, 2])),
        "cpu_seconds": dict(
            zip(("ffmpeg", "whole", "without_mix"), np.median(processor, axis=0).tolist(), strict=True)
        ),
        "full_seconds": full,
        "times_the_dissertation": SEED_SECONDS / full,
    }
    return found | ({"musdb_seconds": seconds_of(read_by_musdb, data)[0]} if musdb else {})


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    found = measured(options.folder, options.tracks, options.rounds)
    print(f"{found['tracks']} tracks, {found['music_seconds']:.0f} s of music, {cores()} cores")
    print(f"{'':28}{'seconds':>9}{'CPU':>9}{'ratio':>8}")
    for name, key, suffix in (
        ("ffmpeg alone, one by one", "ffmpeg", None),
        ("extraction", "whole", ""),
        ("extraction without MIX", "without_mix", "_without_mix"),
    ):
        seconds = found["ffmpeg_seconds"] if suffix is None else found[f"seconds{suffix}"]
        print(
            f"{name:28}{seconds:7.2f} s{found['cpu_seconds'][key]:7.2f} s"
            + ("" if suffix is None else f"{found[f'ratio{suffix}']:8.2f}")
        )
    print(f"{'reading by musdb':28}{found['musdb_seconds']:7.2f} s")
    print(
        f"the dissertation's 87 tracks: {found['full_seconds'] / 60:.0f} min, "
        f"{found['times_the_dissertation']:.0f} times as fast"
    )


if __name__ == "__main__":
    main(run, sys.argv[1:])
