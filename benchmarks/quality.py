"""What the qualities of `svs separate --quality` cost and give: the table in its help and in docs/options.md.

    python -m benchmarks.quality FOLDER [--method spleeter_finetuned] [--against METHOD] [--set KEY=VALUE ...]
                                 [--seconds 240] [--peers] [--json FILE]

FOLDER holds MUSDB18 or its previews (train/ and test/).  The score is that of
the validation tracks, never of test tracks: BSS Eval v4's SDR over whole
seconds of their first six, the median over seconds of each track, then the mean
and the median over tracks.  The speed is that of the command on a song of
`--seconds`, made of these tracks and kept as flac, in a process of its own:
start, reading and writing included, pictures off; CPU s are those of all cores
together.  Memory is the most that this process held.  `--set` adds a row
without a quality, for trying others.  `--against` also scores another method,
and prints the mean over tracks of the paired differences with its 95 %
bootstrap interval.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import resources
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from scipy.stats import bootstrap

from benchmarks import hour
from benchmarks.oracle_ceiling import sdr
from svs import separators
from svs.audio import encode
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.config.quality import DEFAULT, QUALITIES, parameters
from svs.data import inspection
from svs.data.dataset import Dataset, Track
from svs.evaluation.paired import interval
from svs.runtime.files import write_json
from svs.runtime.process import main
from svs.runtime.progress import progress_bar
from svs.separators.base import Separator
from svs.separators.chunking import chunks
from svs.stems import MIXTURE, TARGETS, VOCALS, WHOLE

_PASSAGE = 6  # s of a track that are scored
_RATE = 44100
_PEERS = {"openunmix": [], "spleeter": ["-S", "separate.spleeter.engine=package"]}


def validation(folder: Path) -> Dataset:
    """The tracks that musdb names for validation."""
    names = yaml.safe_load((resources.files("musdb") / "configs/mus.yaml").read_text())["validation_tracks"]
    settings = find_project(overrides=["profile=sample"]).settings.download
    return Dataset(folder, inspection.inspect(settings, 0, folder, lambda song: song.name in names))


def score(data: Dataset, method: str, overrides: Sequence[str]) -> np.ndarray:
    """SDR of vocals and accompaniment in dB (2, tracks)."""
    project = find_project(overrides=overrides)
    separator = separators.build(method, project.settings, project.home)
    found = []
    for track in progress_bar(data.manifest.split("valid"), unit="track", desc=" ".join(overrides)[-40:]):
        true, estimates = passage(data, track, separator)
        found.append([sdr(true[part], estimates[part], track.rate) for part in TARGETS])
    return np.array(found).T


def passage(
    data: Dataset, track: Track, separator: Separator, stems: Sequence[str] = TARGETS
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What is scored of a track: its stems, and the estimates of `TARGETS`, by name, each (samples, channels)."""
    with data.open(track, (MIXTURE, *stems)) as sources:
        true = {name: sources[name].read(0, _PASSAGE * track.rate) for name in (MIXTURE, *stems)}
        vocals = np.concatenate([piece for _, piece in chunks(separator, sources[MIXTURE], 30.0)])
    vocals = vocals[: len(true[MIXTURE])]
    return true, {VOCALS: vocals, WHOLE: true[MIXTURE] - vocals}


def song(data: Dataset, seconds: float, path: Path) -> None:
    """A flac of so many seconds: the validation tracks one after another, again and again."""
    pieces, missing = [], round(seconds * _RATE)
    for track in cycle(data.manifest.split("valid")):
        with data.open(track, ("mixture",)) as sources:
            pieces.append(sources["mixture"].read(0, min(track.samples, missing)))
        missing -= len(pieces[-1])
        if not missing:
            break
    encode.encode(ArraySource(np.concatenate(pieces), _RATE), path, "flac")


class Cost(NamedTuple):
    """Of the command on a song: seconds, seconds of all cores together, MiB, and seconds on one second of the song."""

    seconds: float
    cpu: float
    memory: float
    start: float

    def text(self, length: float) -> str:
        return f"{length / self.seconds:14.1f}{self.seconds:8.1f}{self.cpu:8.1f}{self.start:9.1f}{self.memory:8.0f}"


def cost(path: Path, method: str, words: Sequence[str]) -> Cost:
    """What `svs separate` takes for a song."""
    start, *_ = timed(path, method, [*words, "--duration", "1"])
    return Cost(*timed(path, method, words), start)


def timed(path: Path, method: str, words: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, seconds of all cores together, and MiB of one call."""
    with tempfile.TemporaryDirectory() as out:
        command = ["separate", str(path), "-m", method, "-o", out, "--no-picture", "-q", *words]
        begun = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "svs.cli", *command])
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begun
    if status:
        sys.exit("svs separate failed")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Mean of paired differences in dB, ours less theirs (tracks,), and the bootstrap interval of that mean."""
    values = ours - theirs
    found = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return f"{values.mean():+.2f} {interval(*found)}"


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="spleeter_finetuned")
    parser.add_argument("--against", metavar="METHOD")
    parser.add_argument("--set", action="append", default=[], nargs="+", metavar="KEY=VALUE")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    data, figures = validation(options.folder), {}
    rows = {name: (parameters(name), ["--quality", name]) for name in QUALITIES}
    for given in options.set:
        rows[" ".join(given)] = (*parameters(DEFAULT), *given), [word for one in given for word in ("-S", one)]
    titles = f"{'x real time':>14}{'s':>8}{'CPU s':>8}{'start s':>9}{'MiB':>8}"
    print(f"{'quality':12}{'SDR vocals':>16}{'accompaniment':>16}{titles}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.flac"
        if options.seconds:
            song(data, options.seconds, path)
        for name, (overrides, words) in rows.items():
            scores = score(data, options.method, overrides)
            mean, median = scores.mean(axis=1), np.median(scores, axis=1)
            figures[name] = {"mean": list(mean), "median": list(median)}
            cells = "".join(f"{mean[part]:9.2f} /{median[part]:5.2f}" for part in range(2))
            if options.seconds:
                taken = cost(path, options.method, words)
                cells, figures[name] = cells + taken.text(options.seconds), figures[name] | taken._asdict()
            print(f"{name:12}{cells}", flush=True)
            if options.against:
                others = score(data, options.against, overrides)
                told = [difference(*parts) for parts in zip(scores, others, strict=True)]
                print(f"{'':12}less {options.against}: vocals {told[0]}, accompaniment {told[1]}", flush=True)
        for method, words in _PEERS.items() if options.peers else ():
            home, _ = hour.home(Path(folder) / method, method)
            taken = cost(path, method, ["--project", str(home), *words])
            print(f"{method:44}{taken.text(options.seconds)}", flush=True)
            figures[f"peer {method}"] = taken._asdict()
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main(run, sys.argv[1:])
