"""Spectrograms of mixtures, estimates and masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from svs.audio.convert import mono
from svs.audio.sources import Source, WavSource
from svs.config.schema import Plots, Representation
from svs.data.dataset import Dataset, Track
from svs.figures.style import MUTED, OURS, STYLE, headline, save, styled

if TYPE_CHECKING:
    from svs.vad.detector import Activity

_COLUMNS = 1600  # frames of a picture of a whole recording: more can't be told apart
_LINEAR = 1000  # Hz up to which the frequency axis is linear; it is logarithmic above
_LOWEST = 60  # Hz at the bottom of the frequency axis
_SILENCE = 1e-9


def draw_track(
    track: Track, *, data: Dataset, estimates: Path, methods: Sequence[str], folder: Path, settings: Plots
) -> None:
    """Write `separation_picture` of one test track into a folder.

    Parameters
    ----------
    track : Track
    data : Dataset
    estimates : Path
        Holds `METHOD/test/TRACK/vocals.wav`.
    methods : sequence of str
        Methods that have estimates.
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

    The mask is the ratio of the estimate's magnitude to the mixture's, limited
    to 0 to 1.  The picture shows `picture_seconds` from the middle of the track;
    its frequency axis is mel-like (symlog).
    """
    length = min(mixture.samples, round(settings.picture_seconds * mixture.rate))
    representation = _resolution(mixture.rate, settings)
    hop = representation.hop_length
    centres = (mixture.samples - length) // 2 + np.arange(1 + length // hop) * hop
    grid = _Grid(representation, centres, np.arange(representation.bins))
    mixed = grid.levels(mixture)
    rows = [[_sound("mixture", mixed, mixed), _sound("true vocals", grid.levels(vocals), mixed)]]
    for name, source in estimates.items():
        level = grid.levels(source)
        rows.append([_mask(f"{name}: mask", level, mixed), _sound(f"{name}: vocals", level, mixed)])
    return _draw(title, rows, grid, settings)


def result_picture(
    title: str, mixture: Source, estimate: Source, settings: Plots, *, name: str = "vocals", start: float = 0.0
) -> plt.Figure:
    """Spectrograms of a whole recording and its estimate, and the soft mask between them.

    Parameters
    ----------
    title : str
    mixture, estimate : Source
        Read frame by frame, so the memory does not grow with the recording.
    settings : Plots
    name : str
        Name of the estimate.
    start : float
        Seconds of the song at which the recording begins.
    """
    grid = _whole(mixture, settings)
    mixed, level = grid.levels(mixture), grid.levels(estimate)
    rows = [[_sound("mixture", mixed, mixed)], [_sound(name, level, mixed)], [_mask("soft mask", level, mixed)]]
    figure = _draw(title, rows, grid, settings, start)
    figure.axes[0].set_xlim(start, start + mixture.samples / mixture.rate)  # of all rows; cells reach beyond
    return figure


@styled
def activity_picture(
    title: str, mixture: Source, activity: Activity, settings: Plots, start: float = 0.0
) -> plt.Figure:
    """Spectrogram of a recording, and below it the probability of singing.

    Parameters
    ----------
    title : str
    mixture : Source
    activity : svs.vad.detector.Activity
    settings : Plots
    start : float
        Seconds of the song at which the recording begins.
    """
    grid = _whole(mixture, settings)
    mixed = grid.levels(mixture)
    figure = _draw(title, [[_sound("mixture", mixed, mixed)]], grid, settings, start, spare=True)
    axis = figure.axes[1]
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


@dataclass(frozen=True)
class _Grid:
    """The cells of a picture."""

    representation: Representation
    centres: np.ndarray  # int (columns,): sample at the middle of each frame
    rows: np.ndarray  # int (rows,): first bin of each row

    def levels(self, source: Source) -> np.ndarray:
        """Magnitudes of the mean of the channels, averaged over the bins of each row: float32 (rows, columns)."""
        size = self.representation.frame_size
        window = np.hanning(size + 1)[:-1].astype(np.float32)
        widths = np.diff(self.rows, append=self.representation.bins)
        levels = np.empty((len(self.rows), len(self.centres)), dtype=np.float32)
        for column, centre in enumerate(self.centres):
            start = int(centre) - size // 2
            audio = mono(source.read(max(start, 0), min(start + size, source.samples)))
            frame = np.zeros(size, dtype=np.float32)
            frame[max(-start, 0) : max(-start, 0) + len(audio)] = audio
            levels[:, column] = np.add.reduceat(np.abs(np.fft.rfft(frame * window)), self.rows) / widths
        return levels / window.sum()


def _resolution(rate: int, settings: Plots) -> Representation:
    """The picture's transform.  At other rates than 44.1 kHz its window has about the same length in seconds."""
    scale = 2.0 ** round(np.log2(rate / 44100))
    size = int(np.clip(settings.picture_frame_size * scale, 64, 65536))
    return Representation(sample_rate=rate, frame_size=size, win_length=size, hop_length=size // 4)


def _whole(mixture: Source, settings: Plots) -> _Grid:
    """The cells of a picture of a whole recording.

    A row is one bin up to 1 kHz, and twice as many with each octave above: more can't be told apart on the axis, and
    matplotlib needs 100 bytes for each cell.
    """
    representation = _resolution(mixture.rate, settings)
    step = max(representation.hop_length, -(-mixture.samples // _COLUMNS))
    rows, bin_ = [], 0
    while bin_ < representation.bins:
        rows.append(bin_)
        octave = np.log2(max(bin_ * representation.sample_rate / representation.frame_size / _LINEAR, 0.5))
        bin_ += 2 ** (int(np.floor(octave)) + 1)
    return _Grid(representation, np.arange(0, mixture.samples, step), np.array(rows))


@dataclass(frozen=True)
class _Panel:
    """One spectrogram, or one mask."""

    name: str
    values: np.ndarray  # float (rows, columns): dB, or shares
    mask: bool


def _sound(name: str, level: np.ndarray, mixed: np.ndarray) -> _Panel:
    """Levels in dB below the mixture's loudest cell."""
    highest = max(float(mixed.max(initial=0)), _SILENCE)
    return _Panel(name, 20 * np.log10(np.maximum(level / highest, _SILENCE)), False)


def _mask(name: str, level: np.ndarray, mixed: np.ndarray) -> _Panel:
    return _Panel(name, np.clip(level / np.maximum(mixed, _SILENCE), 0, 1), True)


@plt.style.context({**STYLE, "axes.titlesize": 9.5})
def _draw(
    title: str, panels: list[list[_Panel]], grid: _Grid, settings: Plots, start: float = 0.0, *, spare: bool = False
) -> plt.Figure:
    """Rows of spectrograms; `spare` adds a last row that is left empty, with a vertical axis of its own."""
    representation = grid.representation
    width = representation.sample_rate / representation.frame_size
    highest = min(settings.picture_max_frequency, representation.sample_rate / 2)
    shown = grid.rows * width <= highest
    edges = (np.append(grid.rows, representation.bins)[: np.count_nonzero(shown) + 1] - 0.5) * width
    times = _edges(start + grid.centres / representation.sample_rate)
    rows, columns = len(panels) + spare, len(panels[0])
    size = (11, (1.9 if columns > 1 else 2.3) * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=not spare, squeeze=False, layout="constrained"
    )
    images: dict[bool, list] = {False: [], True: []}
    for line, drawn in zip(axes, panels, strict=not spare):
        for axis, panel in zip(line, drawn, strict=True):
            low, high, colours = (0, 1, "viridis") if panel.mask else (-settings.dynamic_range, 0.0, "magma")
            image = axis.pcolormesh(
                times, edges, panel.values[shown], vmin=low, vmax=high, cmap=colours, rasterized=True
            )
            images[panel.mask].append((image, axis))
            axis.set_yscale("symlog", linthresh=_LINEAR, linscale=1)
            axis.set_ylim(_LOWEST, highest)
            ticks = [tick for tick in (100, 500, 1000, 2000, 5000, 10000) if tick <= highest]
            axis.set_yticks(ticks, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in ticks])
            axis.minorticks_off()
            axis.set_title(panel.name, loc="left")
        line[0].set_ylabel("frequency (Hz)")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    wide = columns > 1
    names = ("level (dB below the mixture's maximum)", "mask (share that is vocals)")
    for mask, name in enumerate(names if wide else ("level (dB)", "mask (share)")):
        if made := images[bool(mask)]:
            column = axes[:, 1 - mask] if wide else [axis for _, axis in made]
            aspect = max(35, 12 * rows) if wide else 15 if mask else 30
            figure.colorbar(made[0][0], ax=column, label=name, aspect=aspect, pad=0.015)
    headline(figure, title)
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Where the cells of a picture meet, halfway between their centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[centres[0] - (middle[0] - centres[0])], middle, [centres[-1] + (centres[-1] - middle[-1])]])
