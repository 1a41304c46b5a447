"""What each stage costs at the scale of the field: unit costs measured here, and what they come to.

    python -m benchmarks.scale FOLDER [--tracks 2] [--json FILE]

FOLDER is one of MUSDB18 (its previews will do).  Times are CPU seconds of one
core, so that other work on the machine matters little; they are divided by the
cores that take part.  Peaks are of what Python and numpy allocate for the first
track, in MB, whatever its length.  Training's rate is given, not measured
(--excerpts-per-second), and so is MUSDB18-HQ's size.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from svs import separators
from svs.config import schema
from svs.data import dataset, inspection
from svs.data.dataset import Dataset, Manifest
from svs.evaluation.museval_json import PROTOCOLS
from svs.evaluation.scoring import score as evaluation_score
from svs.features import extraction
from svs.runtime.files import Scratch, sha256, write_json
from svs.runtime.parallel import limit_threads
from svs.runtime.process import log, main
from svs.separators.chunking import separate_to
from svs.stems import TARGETS

# MUSDB18-HQ: 150 tracks of about 10 hours, 22 GB of wav.  Every training track is counted, also those
# that the settings leave out.
TRACKS, MINUTES, WAV_GB = {"train": 100, "test": 50}, {"train": 390.0, "test": 210.0}, 22.0
# Of the profile `full`: epochs and training excerpts of a track.
SCHEDULE = {"pretrain": (50, 100), "train@cnn_separator": (200, 550), "train@cnn_deep_separator": (200, 500)}
METHODS = ("hpss", "repet_sim", "oracle_irm", "mixture")
SMALL_FILES, BIG_FILE = 1000, 256 << 20


def cpu() -> float:
    """CPU seconds of this process and of the programs that it has run."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def cost(function: Callable, *arguments: object) -> float:
    before = cpu()
    function(*arguments)
    return cpu() - before


def peak(function: Callable, *arguments: object) -> float:
    """Most MB that are allocated at once."""
    tracemalloc.start()
    try:
        function(*arguments)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def size(folder: Path) -> tuple[float, int]:
    """MB and files."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6, len(files)


def measured(folder: Path, count: int, parameters: schema.Settings, place: Path) -> dict:
    """Unit costs: CPU seconds, MB and rows for a minute of music, files for a track."""
    found = {song.name: song for song in inspection.find_songs(parameters.download, 0, folder)[1]}
    chosen = [found[name] for name in sorted(found)[:count]]
    tracks: list = []
    units: dict = {}
    inspecting = cost(lambda: tracks.extend(inspection.look(parameters.download, folder, [one])[0] for one in chosen))
    minutes = sum(track.seconds for track in tracks) / 60
    units["inspect"] = {"cpu": inspecting / minutes}
    train = Manifest("scale", [dataset.Track(**{**vars(track), "split": "train"}) for track in tracks])
    data = Dataset(folder, train)
    extract = partial(extraction.extract, data, parameters.extract, place / "store")
    extract(Scratch(place, "warm", "1"))  # compiles, imports
    spent = cost(extract, Scratch(place, "extract", "1"))
    mb, files = size(place / "store")
    index = sum(
        len(rows)
        for group in ("masks", "vad")
        for rows in json.loads((place / "store" / group / "zarr.json").read_text())["attributes"]["index"].values()
    )
    units["extract"] = {
        "cpu": spent / minutes,
        "mb": mb / minutes,
        "files": (files - 3) / count,
        "rows": index / minutes,
        "peak_mb": peak(extract, Scratch(place, "peak", "1")),
    }
    units["separate"] = {}
    for method in METHODS:
        separator = separators.build(
            method,
            parameters.model_copy(
                update={"methods": parameters.methods | {method: schema.MethodWiring(needs=place / "store" / "masks")}}
            ),
        )

        def separate(separator: separators.Separator = separator, method: str = method) -> None:
            for track in tracks:
                with data.open(track) as sources:
                    separate_to(
                        place / method / track.subset / track.name,
                        separator,
                        sources["mixture"],
                        30.0,
                        {name: sources[name] for name in TARGETS} if separator.needs_references else None,
                    )

        separate()
        units["separate"][method] = cost(separate) / minutes
    mb, files = size(place / "hpss")
    units["estimates"] = {"mb": mb / minutes, "files": files / count}

    def score() -> None:
        for track in tracks:
            for protocol in PROTOCOLS:
                evaluation_score.score_track(
                    data, place / "hpss", parameters.score, place / "scores", (track, protocol)
                )

    score()
    units["score"] = {"cpu": cost(score) / minutes, "peak_mb": peak(score)}
    mb, files = size(place / "scores")
    units["score"] |= {"mb": mb / minutes, "files": files / count}
    return units | hashing(place) | indexing(place)


def hashing(place: Path) -> dict:
    """DVC's and our own hashes: seconds of a file, and MB/s."""
    folder = place / "dvc"
    (folder / "many").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(SMALL_FILES):
        (folder / "many" / f"{number}.bin").write_bytes(random.bytes(600))
    (folder / "big.bin").write_bytes(random.bytes(BIG_FILE))
    (folder / "none.bin").write_bytes(b"nothing")
    dvc = partial(subprocess.run, cwd=folder, check=True, capture_output=True)
    dvc(["dvc", "init", "--no-scm", "-q"])
    core = ("no_scm = true", "analytics = false", "check_update = false")
    (folder / ".dvc" / "config").write_text("\n    ".join(("[core]", *core)) + "\n")
    took = {what: cost(dvc, ["dvc", "add", "-q", what]) for what in ("none.bin", "many", "big.bin")}
    start = time.process_time()
    sha256([folder / "big.bin"])
    return {
        "dvc": {
            "file_s": (took["many"] - took["none.bin"]) / SMALL_FILES,
            "mb_per_s": BIG_FILE / 1e6 / max(took["big.bin"] - took["none.bin"], 1e-9),
        },
        "sha256_mb_per_s": BIG_FILE / 1e6 / (time.process_time() - start),
    }


def indexing(place: Path, tracks: int = 300, runs: int = 150) -> dict:
    """The index of a store, as JSON among its attributes: bytes and seconds of a row."""
    import zarr

    rows = [
        [f"Somebody - A song's name {track:05d}", "train", run * 100, run * 100 + 99, run % 2]
        for track in range(tracks)
        for run in range(runs)
    ]
    writing = cost(lambda: zarr.open_group(place / "index", mode="w").attrs.put({"index": {"SVS": rows}}))
    reading = cost(lambda: zarr.open_group(place / "index", mode="r").attrs.asdict())
    return {
        "index": {
            "bytes": (place / "index" / "zarr.json").stat().st_size / len(rows),
            "write_s": writing / len(rows),
            "read_s": reading / len(rows),
        }
    }


def table(units: dict, times: int, cores: int, rate: float) -> list[tuple[str, float, float, float]]:
    """Rows of stage, hours, GB, files for MUSDB18-HQ `times` over."""
    minutes = {split: value * times for split, value in MINUTES.items()}
    tracks = {split: value * times for split, value in TRACKS.items()}
    hours = 3600 * cores
    everything = sum(minutes.values())
    rows = [
        ("download (inspect)", everything * units["inspect"]["cpu"] / hours, WAV_GB * times, 5 * sum(tracks.values())),
        (
            "extract",
            minutes["train"] * units["extract"]["cpu"] / hours,
            minutes["train"] * units["extract"]["mb"] / 1e3,
            tracks["train"] * units["extract"]["files"] + 3,
        ),
    ]
    rows += [
        (stage, epochs * excerpts * tracks["train"] / rate / 3600, 0.1, 2)
        for stage, (epochs, excerpts) in SCHEDULE.items()
    ]
    rows += [
        (
            f"separate@{method}",
            minutes["test"] * spent / hours,
            minutes["test"] * units["estimates"]["mb"] / 1e3,
            tracks["test"] * units["estimates"]["files"],
        )
        for method, spent in units["separate"].items()
    ]
    rows.append(
        (
            "score, a method",
            minutes["test"] * units["score"]["cpu"] / hours,
            minutes["test"] * units["score"]["mb"] / 1e3,
            tracks["test"] * units["score"]["files"],
        )
    )
    dvc = units["dvc"]
    for name, row in (("DVC: the store", rows[1]), ("DVC: estimates, a method", rows[-2])):
        rows.append((name, (row[2] * 1e3 / dvc["mb_per_s"] + row[3] * dvc["file_s"]) / 3600, row[2], row[3]))
    indexed = minutes["train"] * units["extract"]["rows"]
    rows.append(
        (
            "the store's index, reading",
            indexed * units["index"]["read_s"] / 3600,
            indexed * units["index"]["bytes"] / 1e9,
            2,
        )
    )
    return rows


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="MUSDB18, or its previews")
    parser.add_argument("--tracks", type=int, default=2)
    parser.add_argument("--cores", type=int, default=16, help="that the tables are for")
    parser.add_argument("--excerpts-per-second", type=float, default=60.0, help="of training")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    # As a worker is; threads that wait for one another would count as work.
    limit_threads()
    place = Path(tempfile.mkdtemp(prefix="svs-scale-"))
    try:
        units = measured(options.folder, options.tracks, schema.load(), place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    log.info("unit costs: CPU seconds, MB and rows of the index for a minute of music; files for a track")
    for name, value in units.items():
        figures = value.items() if isinstance(value, dict) else [("", value)]
        print(f"{name:16}" + "  ".join(f"{key} {figure:.3g}" for key, figure in figures))
    for times in (1, 100):
        print(f"\nMUSDB18-HQ x {times}: {options.cores} cores, {options.excerpts_per_second:.0f} training excerpts/s")
        print(f"{'stage':28}{'hours':>10}{'GB':>10}{'files':>10}")
        for stage, hours, gigabytes, files in table(units, times, options.cores, options.excerpts_per_second):
            print(f"{stage:28}{hours:10.2f}{gigabytes:10.1f}{files:10.0f}")
    if options.json:
        write_json(
            options.json,
            {
                "units": units,
                "cores": options.cores,
                "tables": {
                    str(times): table(units, times, options.cores, options.excerpts_per_second) for times in (1, 100)
                },
            },
        )


if __name__ == "__main__":
    main(run, sys.argv[1:])
