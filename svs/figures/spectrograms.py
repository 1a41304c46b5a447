"""Figures: SDR boxplots, training curves, spectrogram pictures, the networks.

Every figure is drawn from tables and files alone and carries no date or random
id, so the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from svs.audio.convert import mono
from svs.audio.sources import Source, WavSource
from svs.config.schema import Plots, Representation
from svs.data.dataset import Dataset, Track
from svs.figures.style import MUTED, OURS, STYLE, drawable, save

if TYPE_CHECKING:
    from svs.vad.detector import Activity


def draw_track(
    track: Track, *, data: Dataset, estimates: Path, methods: Sequence[str], folder: Path, settings: Plots
) -> None:
    """Write `separation_picture` of one test track into a folder.

    Parameters
    ----------
    track : Track
    data : Dataset
    estimates : Path
        `METHOD/test/TRACK/vocals.wav` below it.
    methods : sequence of str
        Those that have estimates.
    folder : Path
    settings : Plots
    """
    vocals = {method: WavSource(estimates / method / track.subset / track.name / "vocals.wav") for method in methods}
    with data.open(track, ("mixture", "vocals")) as sources:
        figure = separation_picture(track.name, sources["mixture"], sources["vocals"], vocals, settings)
    save(figure, folder / f"{track.name}.png")


def separation_picture(
    title: str, mixture: Source, vocals: Source, estimates: Mapping[str, Source], settings: Plots
) -> plt.Figure:
    """Spectrograms of mixture, true vocals, and each method's mask and estimate.

    The mask is what the estimate amounts to: the ratio of its magnitude to the
    mixture's, between 0 and 1.  A passage of `picture_seconds` from the middle
    of the track is shown; frequency is on a mel-like (symlog) scale.
    """
    length = min(mixture.samples, round(settings.picture_seconds * mixture.rate))
    first = (mixture.samples - length) // 2
    representation = _resolution(mixture.rate, settings)
    centres = first + np.arange(1 + length // representation.hop_length) * representation.hop_length
    mixed, true = (_levels(source, centres, representation) for source in (mixture, vocals))
    panels = [[("mixture", _decibels(mixed, mixed), None), ("true vocals", _decibels(true, mixed), None)]]
    for name, source in estimates.items():
        level = _levels(source, centres, representation)
        panels.append(
            [(f"{name}: mask", None, _share(level, mixed)), (f"{name}: vocals", _decibels(level, mixed), None)]
        )
    return _panels(title, panels, centres / mixture.rate, representation, settings)


def result_picture(
    title: str, mixture: Source, estimate: Source, settings: Plots, *, name: str = "vocals", start: float = 0.0
) -> plt.Figure:
    """Spectrograms of a whole recording, its estimate, and the soft mask between them.

    Parameters
    ----------
    title : str
    mixture, estimate : Source
        Read a frame at a time, so a recording of any length is drawn in the same memory.
    settings : Plots
    name : str
        Of the estimate.
    start : float
        Seconds, in the song, at which the recording begins.
    """
    representation = _resolution(mixture.rate, settings)
    step = max(representation.hop_length, -(-mixture.samples // _COLUMNS))
    centres = np.arange(0, mixture.samples, step)
    bands = _bands(representation)
    mixed, level = (_levels(source, centres, representation, bands) for source in (mixture, estimate))
    panels = [
        [("mixture", _decibels(mixed, mixed), None)],
        [(name, _decibels(level, mixed), None)],
        [("soft mask", None, _share(level, mixed))],
    ]
    figure = _panels(title, panels, start + centres / mixture.rate, representation, settings, bands)
    figure.axes[0].set_xlim(start, start + mixture.samples / mixture.rate)  # of all rows; cells reach beyond
    return figure


def activity_picture(
    title: str, mixture: Source, activity: Activity, settings: Plots, start: float = 0.0
) -> plt.Figure:
    """Spectrogram of a recording, and below it where somebody sings.

    Parameters
    ----------
    title : str
    mixture : Source
    activity : svs.vad.detector.Activity
    settings : Plots
    start : float
        Seconds, in the song, at which the recording begins.
    """
    representation = _resolution(mixture.rate, settings)
    step = max(representation.hop_length, -(-mixture.samples // _COLUMNS))
    centres = np.arange(0, mixture.samples, step)
    bands = _bands(representation)
    mixed = _levels(mixture, centres, representation, bands)
    figure = _panels(
        title,
        [[("mixture", _decibels(mixed, mixed), None)], None],
        start + centres / mixture.rate,
        representation,
        settings,
        bands,
    )
    axis = figure.axes[1]
    with plt.rc_context(STYLE):
        axis.plot(start + activity.times, activity.probability, color=OURS, linewidth=0.9)
        axis.axhline(activity.threshold, color=MUTED, linestyle="--", linewidth=1)
        for begin, end, _ in activity.segments():
            axis.axvspan(start + begin, start + end, color=OURS, alpha=0.15, linewidth=0)
        axis.set_ylim(-0.02, 1.02)
        axis.set_title(f"singing: {activity.sung():.1f} of {activity.seconds:.1f} s (shaded)", loc="left")
        axis.set_ylabel("probability")
        axis.set_xlabel("time (s)")
        axis.set_xlim(start, start + activity.seconds)
    return figure


_COLUMNS = 1600  # frames of a picture of a whole recording: more can't be told apart
_LINEAR = 1000  # Hz up to which the axis of frequency is linear; above, logarithmic
_SILENCE = 1e-9


def _resolution(rate: int, settings: Plots) -> Representation:
    """The picture's transform; at other rates than 44.1 kHz its window is about as long in seconds."""
    scale = 2.0 ** round(np.log2(rate / 44100))
    size = int(np.clip(settings.picture_frame_size * scale, 64, 65536))
    return Representation(sample_rate=rate, frame_size=size, win_length=size, hop_length=size // 4)


def _bands(representation: Representation) -> np.ndarray:
    """First bins of the rows of a picture of a whole recording: single up to 1 kHz, twice as many with each octave.

    More can't be told apart on its axis, and matplotlib takes 100 bytes for each cell.
    """
    starts, bin_ = [], 0
    while bin_ < representation.bins:
        starts.append(bin_)
        octave = np.log2(max(bin_ * representation.sample_rate / representation.frame_size / _LINEAR, 0.5))
        bin_ += 2 ** (int(np.floor(octave)) + 1)
    return np.array(starts)


def _levels(
    source: Source, centres: np.ndarray, representation: Representation, bands: np.ndarray | None = None
) -> np.ndarray:
    """Magnitudes (bins, frames) of the mean of the channels, in frames around the given samples; means of bands."""
    size = representation.frame_size
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    rows = np.arange(representation.bins) if bands is None else bands
    widths = np.diff(rows, append=representation.bins)
    levels = np.empty((len(rows), len(centres)), dtype=np.float32)
    for column, centre in enumerate(centres):
        start = int(centre) - size // 2
        audio = mono(source.read(max(start, 0), min(start + size, source.samples)))
        frame = np.zeros(size, dtype=np.float32)
        frame[max(-start, 0) : max(-start, 0) + len(audio)] = audio
        levels[:, column] = np.add.reduceat(np.abs(np.fft.rfft(frame * window)), rows) / widths
    return levels / window.sum()


def _decibels(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """dB below the mixture's loudest bin."""
    return 20 * np.log10(np.maximum(level / max(float(mixed.max(initial=0)), _SILENCE), _SILENCE))


def _share(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    return np.clip(level / np.maximum(mixed, _SILENCE), 0, 1)


def _panels(
    title: str,
    panels: list[list[tuple[str, np.ndarray | None, np.ndarray | None]] | None],
    times: np.ndarray,
    representation: Representation,
    settings: Plots,
    bands: np.ndarray | None = None,
) -> plt.Figure:
    """Rows of spectrograms: each panel has a name, and decibels or a mask (bins or bands, frames).

    A last row of None is left empty, with a vertical axis of its own.
    """
    first = np.arange(representation.bins) if bands is None else bands  # bin of each row
    width = representation.sample_rate / representation.frame_size
    highest = min(settings.picture_max_frequency, representation.sample_rate / 2)
    shown = first * width <= highest
    edges = (np.append(first, representation.bins)[: np.count_nonzero(shown) + 1] - 0.5) * width
    rows, columns = len(panels), len(panels[0])
    empty, panels = [row for row, drawn in enumerate(panels) if drawn is None], [drawn for drawn in panels if drawn]
    with plt.rc_context({**STYLE, "axes.titlesize": 9.5}):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(11, (1.9 if columns > 1 else 2.3) * rows),
            sharex=True,
            sharey=not empty,
            squeeze=False,
            layout="constrained",
        )
        loud, masks = [], []
        for line, drawn in zip(axes, panels, strict=not empty):
            for axis, (name, decibels, mask) in zip(line, drawn, strict=True):
                values, limits, colours = (
                    (decibels, (-settings.dynamic_range, 0.0), "magma") if mask is None else (mask, (0, 1), "viridis")
                )
                image = axis.pcolormesh(
                    _edges(times), edges, values[shown], vmin=limits[0], vmax=limits[1], cmap=colours, rasterized=True
                )
                (loud if mask is None else masks).append((image, axis))
                axis.set_yscale("symlog", linthresh=_LINEAR, linscale=1)
                axis.set_ylim(60, highest)
                ticks = [tick for tick in (100, 500, 1000, 2000, 5000, 10000) if tick <= highest]
                axis.set_yticks(ticks, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in ticks])
                axis.minorticks_off()
                axis.set_title(name, loc="left")
            line[0].set_ylabel("frequency (Hz)")
        for axis in axes[-1]:
            axis.set_xlabel("time (s)")
        # Beside the column that each belongs to.
        column = axes[:, 1] if columns > 1 else [axis for _, axis in loud]
        figure.colorbar(
            loud[0][0],
            ax=column,
            label="level (dB below the mixture's maximum)" if columns > 1 else "level (dB)",
            aspect=max(35, 12 * rows) if columns > 1 else 30,
            pad=0.015,
        )
        if masks:
            column = axes[:, 0] if columns > 1 else [axis for _, axis in masks]
            figure.colorbar(
                masks[0][0],
                ax=column,
                label="mask (share that is vocals)" if columns > 1 else "mask (share)",
                aspect=max(35, 12 * rows) if columns > 1 else 15,
                pad=0.015,
            )
        figure.suptitle(drawable(title), x=0.01, ha="left", fontweight="bold")
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Where the cells of a picture meet, halfway between their centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[centres[0] - (middle[0] - centres[0])], middle, [centres[-1] + (centres[-1] - middle[-1])]])
