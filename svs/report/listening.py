"""The sound and the picture of a track: a passage of every source as mp3, and its spectrogram and mask.

Sources are called `mixture`, `true.vocals`, `true.accompaniment` and
`METHOD.vocals`, `METHOD.accompaniment`.  Files lie in a folder named by the
track's number, so the name of a track never becomes part of an address.
Levels are not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import colormaps, image

from svs.audio.convert import mono
from svs.audio.encode import encode
from svs.audio.sources import PassageSource, Source, WavSource
from svs.config.schema import Plots, Report
from svs.data import synthetic
from svs.data.dataset import Dataset, Track
from svs.runtime.files import written
from svs.stems import TARGETS

COLUMNS, ROWS = 900, 180  # of the spectrogram in a picture; the mask below it has the same size
LOWEST = 60.0  # Hz
_QUALITY = 50  # of WebP: above it only the noise gets sharper
_QUIETEST = 1e-9


@dataclass(frozen=True)
class Job:
    """One test track: its number from 1, and whether its audio goes into the report."""

    number: int
    track: Track
    audible: bool


@dataclass(frozen=True)
class Passage:
    """The files of a track in the report.

    Parameters
    ----------
    name : str
    folder : str
        Relative to the page.
    seconds, start, length : float
        Length of the whole track, start and length of the passage (s).
    audible : bool
    highest : float
        Frequency at the top of the pictures (Hz).
    """

    name: str
    folder: str
    seconds: float
    start: float
    length: float
    audible: bool
    highest: float


def allowed(audio: str, name: str, track: str) -> bool:
    """Whether `report.audio` (all, generated, none) allows the audio of a track of data set `name`."""
    return audio == "all" or (audio == "generated" and name == "tiny" and synthetic.is_generated(track))


def make(
    job: Job, *, data: Dataset, estimates: Path, methods: Sequence[str], folder: Path, report: Report, plots: Plots
) -> Passage:
    """Write the pictures of one track, and its audio if it is audible.

    Parameters
    ----------
    job : Job
    data : Dataset
    estimates : Path
        Holds `METHOD/test/TRACK/{vocals,accompaniment}.wav`.
    methods : sequence of str
        Methods that have estimates.
    folder : Path
        Gets `tracks/NUMBER`.
    report, plots : groups of Settings
    """
    track = job.track
    place = f"tracks/{job.number:02d}"
    with data.open(track, ("mixture", *TARGETS)) as sources:
        mixture = sources["mixture"]
        length = min(mixture.samples, round(report.passage * mixture.rate))
        first = (mixture.samples - length) // 2
        heard: dict[str, Source] = {"mixture": mixture, **{f"true.{target}": sources[target] for target in TARGETS}}
        heard |= {
            f"{method}.{target}": WavSource(estimates / method / track.subset / track.name / f"{target}.wav")
            for method in methods
            for target in TARGETS
        }
        passages = {name: PassageSource(source, first, first + length) for name, source in heard.items()}
        mixed = levels(passages["mixture"], plots)
        for name, passage in passages.items():
            with written(folder / place / f"{name}.webp") as temporary:
                drawn = picture(mixed if name == "mixture" else levels(passage, plots), mixed, plots)
                image.imsave(temporary, drawn, format="webp", pil_kwargs={"quality": _QUALITY, "method": 4})
            if job.audible:
                encode(passage, folder / place / f"{name}.mp3", "mp3", bitrate=report.bitrate)
        start, seconds = first / mixture.rate, length / mixture.rate
        highest = min(plots.picture_max_frequency, mixture.rate / 2)
        return Passage(track.name, place, track.seconds, start, seconds, job.audible, highest)


def levels(source: Source, plots: Plots) -> np.ndarray:
    """Magnitudes of the mean of the channels, low frequencies first: float32 (ROWS, COLUMNS).

    Columns are equally far apart in time, from the first sample to the last.
    Rows follow a mel-like scale from `LOWEST` to the settings' highest frequency.
    """
    size = max(64, round(plots.picture_frame_size * 2.0 ** round(np.log2(source.rate / 44100))))
    audio = np.pad(mono(source.read(0, source.samples)), size // 2 + 1)
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    frequencies = np.fft.rfftfreq(size, 1 / source.rate)
    wanted = frequency_scale(min(plots.picture_max_frequency, source.rate / 2))
    below = np.clip(np.searchsorted(frequencies, wanted, side="right") - 1, 0, len(frequencies) - 2)
    share = ((wanted - frequencies[below]) / (frequencies[1] - frequencies[0])).astype(np.float32)[:, None]
    starts = np.round((np.arange(COLUMNS) + 0.5) * source.samples / COLUMNS).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(audio, size)[starts] * window
    spectrum = np.abs(np.fft.rfft(frames, axis=1)).T / window.sum()
    return spectrum[below] * (1 - share) + spectrum[below + 1] * share


def frequency_scale(highest: float) -> np.ndarray:
    """Frequency (Hz) of every row of a picture, from the lowest: equal steps of mel."""
    low, high = (np.log1p(frequency / 700) for frequency in (LOWEST, highest))
    return 700 * np.expm1(np.linspace(low, high, ROWS))


def picture(level: np.ndarray, mixed: np.ndarray, plots: Plots) -> np.ndarray:
    """The spectrogram, and below it its share of the mixture: uint8 (2 * ROWS, COLUMNS, 3).

    Parameters
    ----------
    level, mixed : float32 (ROWS, COLUMNS)
        `levels` of the source and of the mixture, whose maximum is 0 dB.
    plots : Plots
    """
    decibels = 20 * np.log10(np.maximum(level / max(float(mixed.max(initial=0.0)), _QUIETEST), _QUIETEST))
    share = np.clip(level / np.maximum(mixed, _QUIETEST), 0, 1)
    panels = (colormaps["magma"](np.clip(decibels / plots.dynamic_range + 1, 0, 1)), colormaps["viridis"](share))
    return np.concatenate([np.round(255 * panel[::-1, :, :3]).astype(np.uint8) for panel in panels])
