"""The validation tracks on which a method does worst: where its error lies, and what it takes for the voice.

    python -m benchmarks.worst FOLDER [--method spleeter_finetuned] [--tracks 5] [--set KEY=VALUE ...] [--pictures DIR]

FOLDER holds MUSDB18 or its previews (train/ and test/).  Tracks, seconds and
SDR are those of `python -m benchmarks.quality`, at the default `--quality`;
no test track is used.  The tracks with the lowest SDR of the vocals are shown,
the worst first, in three tables:

- levels of vocals and accompaniment (dB, root mean square, full scale is 0) and
  the four scores of the vocals;
- the share of the error's energy in bands of frequency;
- where the error comes from, in dB relative to the true vocals: `lost` is what
  of the vocals the mask leaves out, the others are what of each stem it lets
  through.  The mask is the estimate's share of the mixture in each bin, so the
  error is the sum of these parts.

`--pictures` writes spectrograms of mixture, true vocals, estimate and error:
DIR/worst_1.png and so on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.quality import passage, validation
from svs import separators
from svs.audio.sources import ArraySource
from svs.config.project import find_project
from svs.config.quality import DEFAULT, parameters
from svs.config.schema import Plots, Representation
from svs.dsp.stft import stft
from svs.evaluation.scoring import bsseval
from svs.figures import spectrograms, style
from svs.runtime.process import main
from svs.runtime.progress import progress_bar
from svs.stems import ACCOMPANIMENT, MIXTURE, TARGETS, VOCALS, WHOLE

EDGES = (0, 250, 500, 1000, 2000, 4000)  # Hz, between bands of the error; the last band ends at half the rate
LOST = "lost"
_TINY = 1e-20
_COLOURS = 64  # of the pictures: 0.1 MB each


class Separated(NamedTuple):
    """A track, its stems and estimates by name (samples, channels), and SDR, ISR, SIR and SAR of its vocals in dB."""

    name: str
    rate: int
    true: Mapping[str, np.ndarray]
    estimates: Mapping[str, np.ndarray]
    scores: np.ndarray


def level(audio: np.ndarray) -> float:
    """Root mean square in dB; a full-scale square wave has 0."""
    return float(10 * np.log10(np.square(audio, dtype=np.float64).mean() + _TINY))


def transformed(audio: np.ndarray, rate: int) -> np.ndarray:
    """Spectrogram of audio (samples, channels): complex64 (channels, bins, frames)."""
    return stft(audio.T, Representation(sample_rate=rate, frame_size=4096, win_length=4096, hop_length=1024))


def bands(error: np.ndarray, rate: int) -> list[float]:
    """Share of the energy of audio (samples, channels) in each band of `EDGES`."""
    energy = (np.abs(transformed(error, rate)) ** 2).sum(axis=(0, 2))
    hertz = np.linspace(0, rate / 2, len(energy))
    total = energy.sum() + _TINY
    return [energy[(hertz >= low) & (hertz < high)].sum() / total for low, high in pairwise((*EDGES, np.inf))]


def origins(true: Mapping[str, np.ndarray], vocals: np.ndarray, rate: int) -> dict[str, float]:
    """Energy of each part of the error in the estimate `vocals`, in dB relative to that of the true vocals.

    `true` holds the mixture and all stems that sum to it; all arrays are (samples, channels).
    """
    mixture, estimate = transformed(true[MIXTURE], rate), transformed(vocals, rate)
    mask = np.real(estimate * mixture.conj()) / (np.abs(mixture) ** 2 + _TINY)
    spectra = {name: transformed(audio, rate) for name, audio in true.items() if name not in (MIXTURE, WHOLE)}
    whole = (np.abs(spectra[VOCALS]) ** 2).sum() + _TINY
    parts = {LOST: (1 - mask) * spectra.pop(VOCALS)} | {name: mask * values for name, values in spectra.items()}
    return {name: float(10 * np.log10((np.abs(part) ** 2).sum() / whole + _TINY)) for name, part in parts.items()}


def separated(folder: Path, method: str, overrides: Sequence[str]) -> list[Separated]:
    """Every validation track, the one with the lowest SDR first."""
    project, data = find_project(overrides=overrides), validation(folder)
    separator = separators.build(method, project.settings, project.home)
    found = []
    for track in progress_bar(data.manifest.split("valid"), unit="track", desc=method):
        true, estimates = passage(data, track, separator, (*TARGETS, *ACCOMPANIMENT))
        both = [np.stack([audio[name] for name in TARGETS]) for audio in (true, estimates)]
        scores = np.array([np.nanmedian(each[0]) for each in bsseval.evaluate(*both, win=track.rate, hop=track.rate)])
        found.append(Separated(track.name, track.rate, true, estimates, scores))
    return sorted(found, key=lambda one: one.scores[0])


def draw(track: Separated, path: Path, settings: Plots) -> None:
    """Write spectrograms of mixture, true vocals, estimate and error."""
    vocals, estimate = track.true[VOCALS], track.estimates[VOCALS]
    sounds = {"mixture": track.true[MIXTURE], "true vocals": vocals, "estimate": estimate, "error": estimate - vocals}
    sources = {name: ArraySource(audio, track.rate) for name, audio in sounds.items()}
    style.save(spectrograms.sounds_picture(track.name, sources, settings), path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(_COLOURS)
    few.save(path, optimize=True)


def table(titles: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Text: a column of names, and one of cells below each title."""
    lines = [("", titles), *rows.items()]
    return "\n".join(f"{name[:36]:36}" + "".join(f"{cell:>13}" for cell in cells) for name, cells in lines)


def run(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="spleeter_finetuned")
    parser.add_argument("--tracks", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write a picture of each track there")
    options = parser.parse_args(arguments)
    worst = separated(options.folder, options.method, [*parameters(DEFAULT), *options.set])[: options.tracks]
    levels = {
        one.name: [*(f"{level(one.true[part]):.1f}" for part in TARGETS), *(f"{score:.1f}" for score in one.scores)]
        for one in worst
    }
    print(table(["vocals", "accomp.", "SDR", "ISR", "SIR", "SAR"], levels), end="\n\n")
    errors = {one.name: bands(one.estimates[VOCALS] - one.true[VOCALS], one.rate) for one in worst}
    titles = [f"{low}-{high} Hz" for low, high in pairwise(EDGES)]
    shares = {name: [f"{100 * share:.0f} %" for share in found] for name, found in errors.items()}
    print(table([*titles, "above"], shares), end="\n\n")
    sources = {one.name: origins(one.true, one.estimates[VOCALS], one.rate) for one in worst}
    cells = {name: [f"{found[part]:.1f}" for part in (LOST, *ACCOMPANIMENT)] for name, found in sources.items()}
    print(table([LOST, *ACCOMPANIMENT], cells))
    for place, one in enumerate(worst if options.pictures else (), 1):
        options.pictures.mkdir(parents=True, exist_ok=True)
        draw(one, options.pictures / f"worst_{place}.png", find_project().settings.plots)


if __name__ == "__main__":
    main(run, sys.argv[1:])
