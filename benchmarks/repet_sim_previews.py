"""The untrained methods on MUSDB18's previews, beside published systems on the same seconds.

    python -m benchmarks.repet_sim_previews FOLDER [--published ARCHIVE] [--subset train] [--tracks N]

FOLDER holds the previews' train/ and test/.  Each preview is separated whole
(6.8 s) and six seconds are scored, from 0.8 s on: in the test set those are
whole seconds of the full track, whose scores SiSEC18 published (ARCHIVE is
`sisec18.tar.xz`; `preview_seconds.csv` beside it aligns the two).  SDR is that
of BSS Eval v4, which does not depend on its distortion filters: the median
over seconds, then over tracks.  The published systems saw the whole track,
the methods here the 6.8 s of the preview.
"""

import argparse
import csv
import json
import sys
import tarfile
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np

from svs import separators
from svs.config import schema
from svs.config.schema import Settings
from svs.data import inspection
from svs.data.dataset import Dataset, Track
from svs.runtime.parallel import over_tracks
from svs.runtime.process import main

START, SECONDS = 0.8, 6  # s: what is scored of a preview
METHODS = {  # column: method, variant
    "authors": ("repet_sim", "authors"),
    "librosa": ("repet_sim", "librosa"),
    "knn_median": ("knn_median", None),
    "two_stage": ("hpss", "two_stage"),
    "harmonic": ("hpss", "harmonic"),
    "oracle_irm": ("oracle_irm", None),
    "mixture": ("mixture", None),
}
PUBLISHED = ("REP2", "REP1", "HPSS", "2DFT", "MIX", "IRM1", "IRM2")
TARGETS = ("vocals", "accompaniment")


def sdr(reference: np.ndarray, estimate: np.ndarray, rate: int) -> list[float]:
    """10 log10 |s|^2 / |e - s|^2 of each second, in dB; NaN where either is silent."""
    values = []
    for start in range(0, len(reference) - rate + 1, rate):
        s, e = reference[start : start + rate], estimate[start : start + rate]
        values.append(10 * np.log10((s**2).sum() / ((e - s) ** 2).sum()) if s.any() and e.any() else np.nan)
    return values


def with_variant(options: Settings, method: str, variant: str | None) -> Settings:
    if variant is None:
        return options
    group = separators.options(method, options).model_copy(update={"variant": variant})
    return options.model_copy(update={"separate": options.separate.model_copy(update={method: group})})


def measure(data: Dataset, options: Settings, track: Track) -> tuple[np.ndarray, np.ndarray]:
    """Median SDR of both targets (methods, targets), and seconds of work per second of audio."""
    with data.open(track) as sources:
        audio = {name: source.read(0, source.samples) for name, source in sources.items()}
    first = round(START * track.rate)
    scored = slice(first, first + SECONDS * track.rate)
    true = {name: audio[name] for name in TARGETS}
    scores, times = [], []
    for method, variant in METHODS.values():
        separator = separators.build(method, with_variant(options, method, variant))
        clock = perf_counter()
        vocals = separator.vocals(audio["mixture"], track.rate, true if separator.needs_references else None)
        times.append((perf_counter() - clock) / track.seconds)
        estimates = {"vocals": vocals, "accompaniment": audio["mixture"] - vocals}
        scores.append(
            [
                np.nanmedian(sdr(true[name][scored].astype(np.float64), estimates[name][scored], track.rate))
                for name in TARGETS
            ]
        )
    return np.array(scores), np.array(times)


def published(archive: Path, seconds: dict[str, int]) -> dict[str, dict[str, list[float]]]:
    """Median published SDR of both targets in a preview's seconds, by system and track."""
    found: dict[str, dict[str, list[float]]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = Path(member.name).parts
            if not member.isfile() or len(parts) < 3 or parts[-3] not in PUBLISHED:
                continue
            system, track = parts[-3], parts[-1].removesuffix(".json")
            if track not in seconds:
                continue
            first = seconds[track]
            targets = {target["name"]: target["frames"] for target in json.load(tar.extractfile(member))["targets"]}
            found.setdefault(system, {})[track] = [
                float(np.nanmedian([frame["metrics"]["SDR"] for frame in targets[name][first : first + SECONDS]]))
                if name in targets
                else np.nan
                for name in TARGETS
            ]
    return found


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--published", type=Path, help="sisec18.tar.xz, with preview_seconds.csv beside it")
    parser.add_argument("--subset", choices=("train", "test"), default="test")
    parser.add_argument("--tracks", type=int, help="the first N tracks only")
    arguments = parser.parse_args(arguments)
    options = schema.load()
    download = options.download.model_copy(update={"dataset": "sample", "path": arguments.folder})
    folder = download.path
    manifest = inspection.inspect(download, 0, folder)
    splits = ("test",) if arguments.subset == "test" else ("train", "valid")
    tracks = manifest.split(*splits)[: arguments.tracks]
    results = over_tracks(
        partial(measure, Dataset(folder, manifest), options), tracks, [track.name for track in tracks], desc="tracks"
    )
    scores, times = np.array([score for score, _ in results]), np.array([time for _, time in results])

    print(f"SDR in dB, median over {len(tracks)} {arguments.subset} previews (which is all that these methods heard)")
    print(f"{'':<12}{'vocals':>8}{'accompaniment':>15}{'work s/s':>10}")
    medians, speed = np.nanmedian(scores, axis=0), np.median(times, axis=0)
    for name, (vocals, accompaniment), seconds in zip(METHODS, medians, speed, strict=True):
        print(f"{name:<12}{vocals:>8.2f}{accompaniment:>15.2f}{seconds:>10.3f}")
    columns = {name: scores[:, index, 0] for index, name in enumerate(METHODS)}
    if arguments.published and arguments.subset == "test":
        with open(arguments.published.with_name("preview_seconds.csv"), encoding="utf-8") as file:
            seconds = {row["track"]: int(row["first_full_track_second"]) for row in csv.DictReader(file)}
        theirs = published(arguments.published, seconds)
        print("published, of systems that heard the whole track")
        for system in PUBLISHED:
            values = np.array([theirs[system][track.name] for track in tracks])
            vocals, accompaniment = np.nanmedian(values, axis=0)
            print(f"{system:<12}{vocals:>8.2f}{accompaniment:>15.2f}")
            if system in ("REP2", "HPSS"):
                columns[system] = values[:, 0]
    print(f"\nvocals{'':<34}" + "".join(f"{name:>11}" for name in columns))
    for index, track in enumerate(tracks):
        print(f"{track.name[:38]:<40}" + "".join(f"{values[index]:>11.2f}" for values in columns.values()))
    if "REP2" in columns:
        for name in ("authors", "librosa", "knn_median"):
            difference = columns[name] - columns["REP2"]
            print(
                f"{name} - REP2: median {np.median(difference):+.2f}, from {difference.min():+.2f} "
                f"to {difference.max():+.2f}, above it on {np.sum(difference > 0)} of {len(tracks)}"
            )


if __name__ == "__main__":
    main(run, sys.argv[1:])
