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

from svs.audio.encode import encode
from svs.audio.sources import PassageSource, Source, WavSource
from svs.config.schema import Plots, Settings
from svs.data import synthetic
from svs.data.dataset import Dataset, Track
from svs.figures import spectrograms
from svs.runtime.files import written
from svs.stems import TARGETS

COLUMNS = 900  # of the spectrogram in a picture; the mask below it has the same size
_QUALITY = 50  # of WebP: above it only the noise gets sharper


@dataclass(frozen=True)
class Passage:
    """The files of a track in the report."""

    name: str
    folder: str  # relative to the page
    seconds: float  # of the whole track
    start: float  # of the passage (s)
    length: float
    audible: bool
    highest: float  # frequency at the top of the pictures (Hz)


def allowed(audio: str, name: str, track: str) -> bool:
    """Whether `report.audio` (all, generated, none) allows the audio of a track of data set `name`."""
    return audio == "all" or (audio == "generated" and name == "tiny" and synthetic.is_generated(track))


def make(
    numbered: tuple[int, Track],
    *,
    data: Dataset,
    estimates: Path,
    methods: Sequence[str],
    folder: Path,
    settings: Settings,
) -> Passage:
    """Write the pictures of one track, and its audio if the settings allow it.

    Parameters
    ----------
    numbered : tuple of int and Track
        The track's number names its folder, `tracks/NUMBER`.
    data : Dataset
    estimates : Path
        Holds `METHOD/test/TRACK/{vocals,accompaniment}.wav`.
    methods : sequence of str
        Methods that have estimates.
    folder : Path
        Gets `tracks/NUMBER`.
    settings : Settings
    """
    number, track = numbered
    report, plots = settings.report, settings.plots
    place = f"tracks/{number:02d}"
    audible = allowed(report.audio, track.dataset or data.manifest.dataset, track.name)
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
        levels = {name: spectrograms.levels(passage, COLUMNS, plots) for name, passage in passages.items()}
        for name, passage in passages.items():
            with written(folder / place / f"{name}.webp") as temporary:
                drawn = picture(levels[name], levels["mixture"], plots)
                image.imsave(temporary, drawn, format="webp", pil_kwargs={"quality": _QUALITY, "method": 4})
            if audible:
                encode(passage, folder / place / f"{name}.mp3", "mp3", bitrate=report.bitrate)
        start, seconds = first / mixture.rate, length / mixture.rate
        highest = spectrograms.highest(mixture.rate, plots)
        return Passage(track.name, place, track.seconds, start, seconds, audible, highest)


def picture(level: np.ndarray, mixed: np.ndarray, plots: Plots) -> np.ndarray:
    """The spectrogram, and below it its share of the mixture: uint8 (2 * ROWS, COLUMNS, 3).

    `level` and `mixed` are `svs.figures.spectrograms.levels` of the source and of the mixture.
    """
    loudness = np.clip(spectrograms.decibels(level, mixed) / plots.dynamic_range + 1, 0, 1)
    panels = (colormaps["magma"](loudness), colormaps["viridis"](spectrograms.share(level, mixed)))
    return np.concatenate([np.round(255 * panel[::-1, :, :3]).astype(np.uint8) for panel in panels])
