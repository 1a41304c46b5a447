"""What each method calls vocals where nobody sings, on real music.

    python -m benchmarks.bleed [METHOD ...] [--split test] [--json FILE]

Run where the pipeline has run on real music (profile `sample` or `full`).
MUSDB18's previews hold hardly a second without vocals, so every method is given
the accompaniment alone, all of it: whatever it calls vocals there has leaked.
Prints the median over tracks of the level of that beside the accompaniment, in
dB, its highest value, and the level of all tracks together.  Oracles, which are
told what is vocals, are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from svs import separators
from svs.config import schema
from svs.data import dataset
from svs.data.dataset import Dataset, Track
from svs.runtime import files
from svs.runtime.process import log, main
from svs.separators import chunking
from svs.separators.base import Separator


def energies(separator: Separator, data: Dataset, track: Track, chunk: float) -> tuple[float, float]:
    """Of what is called vocals, and of the accompaniment, which is all that the method hears."""
    leaked = heard = 0.0
    with data.open(track, ("accompaniment",)) as sources:
        for audio, vocals in chunking.chunks(separator, sources["accompaniment"], chunk):
            leaked += float(np.square(vocals, dtype=np.float64).sum())
            heard += float(np.square(audio, dtype=np.float64).sum())
    return leaked, heard


def _finite(level: float) -> float | None:
    return float(level) if np.isfinite(level) else None


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bleed", description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", metavar="METHOD", help="default: those of params.yaml")
    parser.add_argument("--split", default="test", choices=("test", "valid"))
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args(arguments)
    parameters = schema.load()
    data = dataset.open_dataset(parameters)
    tracks = data.manifest.split(options.split)
    methods = options.methods or [
        name for name in parameters.methods if name not in separators.of_kind(separators.Kind.ORACLE)
    ]
    log.info("accompaniments of %d tracks (%s)", len(tracks), options.split)
    print(f"{'method':26}{'median':>8}{'highest':>9}{'together':>10}")
    figures = {}
    for name in methods:
        separator = separators.build(name, parameters)
        found = np.array([energies(separator, data, track, parameters.separate.common.chunk) for track in tracks])
        with np.errstate(divide="ignore"):  # nothing at all: -inf
            levels = 10 * np.log10(found[:, 0] / found[:, 1])
            together = 10 * np.log10(found[:, 0].sum() / found[:, 1].sum())
        figures[name] = {
            "tracks": {track.name: _finite(level) for track, level in zip(tracks, levels, strict=True)},
            "together": _finite(together),
        }
        print(f"{name:26}{np.median(levels):>8.1f}{levels.max():>9.1f}{together:>10.1f}", flush=True)
    if options.json:
        files.write_json(options.json, figures)


if __name__ == "__main__":
    main(run, sys.argv[1:])
