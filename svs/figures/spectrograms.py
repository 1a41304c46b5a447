"""Spectrograms of mixtures, estimates and masks.

A picture has `ROWS` rows at equal steps of mel.  Sources are read in blocks of columns, so the memory hardly grows with
the recording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
from scipy import fft

from svs.audio.convert import mono
from svs.audio.sources import PassageSource, Source, WavSource
from svs.config.schema import Plots
from svs.data.dataset import Dataset, Track
from svs.figures.style import MUTED, OURS, STYLE, headline, save, styled

if TYPE_CHECKING:
    from svs.vad.detector import Activity

ROWS = 180
LOWEST = 60.0  # Hz at the bottom of a picture
_COLUMNS = 1600  # at most: more can't be told apart
_BLOCK = 32  # columns read and transformed at a time
_SILENCE = 1e-9
Panel = tuple[str, np.ndarray, bool]  # title, values (ROWS, columns) and whether they are a mask


def highest(rate: int, settings: Plots) -> float:
    """Frequency at the top of a picture (Hz)."""
    return min(settings.picture_max_frequency, rate / 2)


def row_edges(rate: int, settings: Plots) -> np.ndarray:
    """Frequencies between which the rows of a picture lie, the lowest first: float (ROWS + 1,) in Hz."""
    low, high = (np.log1p(frequency / 700) for frequency in (LOWEST, highest(rate, settings)))
    return 700 * np.expm1(np.linspace(low, high, ROWS + 1))


def levels(source: Source, columns: int, settings: Plots) -> np.ndarray:
    """Magnitudes of the mean of the channels, averaged over the frequencies of each row: float32 (ROWS, columns).

    Columns are equally far apart in time.  At other rates than 44.1 kHz the window has about the same length in
    seconds.
    """
    size = int(np.clip(settings.picture_frame_size * 2.0 ** round(np.log2(source.rate / 44100)), 64, 65536))
    window = np.hanning(size + 1)[:-1].astype(np.float32)
    bins = (np.arange(size // 2 + 2) - 0.5) * source.rate / size  # where one bin ends and the next begins
    rows = row_edges(source.rate, settings)
    inside = np.minimum(rows[1:, None], bins[1:]) - np.maximum(rows[:-1, None], bins[:-1])
    share_of_bin = (np.clip(inside, 0, None) / np.diff(rows)[:, None] / window.sum()).astype(np.float32)
    starts = np.round((np.arange(columns) + 0.5) * source.samples / columns).astype(int) - size // 2
    found = np.empty((ROWS, columns), dtype=np.float32)
    for first in range(0, columns, _BLOCK):
        here = starts[first : first + _BLOCK]
        begin, end = int(here[0]), int(here[-1]) + size
        audio = mono(source.read(max(begin, 0), min(end, source.samples)))
        audio = np.pad(audio, (max(-begin, 0), max(end - source.samples, 0)))
        frames = np.lib.stride_tricks.sliding_window_view(audio, size)[here - begin]
        found[:, first : first + len(here)] = share_of_bin @ np.abs(fft.rfft(frames * window)).T
    return found


def decibels(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Levels in dB below the mixture's loudest cell."""
    return 20 * np.log10(np.maximum(level / max(float(mixed.max(initial=0)), _SILENCE), _SILENCE))


def share(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """The mask: the ratio of a source's magnitude to the mixture's, limited to 0 to 1."""
    return np.clip(level / np.maximum(mixed, _SILENCE), 0, 1)


def draw_track(
    track: Track, *, data: Dataset, estimates: Path, methods: Sequence[str], folder: Path, settings: Plots
) -> None:
    """Write `separation_picture` of one test track into a folder.

    `estimates` holds `METHOD/test/TRACK/vocals.wav` of the methods.
    """
    vocals = {method: WavSource(estimates / method / track.subset / track.name / "vocals.wav") for method in methods}
    with data.open(track, ("mixture", "vocals")) as sources:
        figure = separation_picture(track.name, sources["mixture"], sources["vocals"], vocals, settings)
    save(figure, folder / f"{track.name}.png")


def separation_picture(
    title: str, mixture: Source, vocals: Source, estimates: Mapping[str, Source], settings: Plots
) -> plt.Figure:
    """Spectrograms of mixture, true vocals, and each method's mask (`share`) and estimate.

    The picture shows `picture_seconds` from the middle of the track.
    """
    length = min(mixture.samples, round(settings.picture_seconds * mixture.rate))
    first = (mixture.samples - length) // 2

    def cut(source: Source) -> Source:
        return PassageSource(source, first, first + length)

    columns = _columns(cut(mixture), settings)
    mixed = levels(cut(mixture), columns, settings)
    true = levels(cut(vocals), columns, settings)
    rows = [[_sound("mixture", mixed, mixed), _sound("true vocals", true, mixed)]]
    for name, source in estimates.items():
        level = levels(cut(source), columns, settings)
        rows.append([_mask(f"{name}: mask", level, mixed), _sound(f"{name}: vocals", level, mixed)])
    return _draw(title, rows, cut(mixture), settings, first / mixture.rate)


def result_picture(
    title: str, mixture: Source, estimate: Source, settings: Plots, *, name: str = "vocals", start: float = 0.0
) -> plt.Figure:
    """Spectrograms of a whole recording and its estimate called `name`, and the soft mask between them.

    The recording begins at second `start` of the song.
    """
    columns = _columns(mixture, settings)
    mixed, level = levels(mixture, columns, settings), levels(estimate, columns, settings)
    rows = [[_sound("mixture", mixed, mixed)], [_sound(name, level, mixed)], [_mask("soft mask", level, mixed)]]
    return _draw(title, rows, mixture, settings, start, part=name if name == "vocals" else "kept")


def sounds_picture(title: str, sounds: Mapping[str, Source], settings: Plots) -> plt.Figure:
    """Spectrograms of recordings of one length by their names, two in a row; levels are beside that of the first."""
    first = next(iter(sounds.values()))
    columns = _columns(first, settings)
    found = {name: levels(source, columns, settings) for name, source in sounds.items()}
    panels = [_sound(name, level, next(iter(found.values()))) for name, level in found.items()]
    return _draw(title, [panels[start : start + 2] for start in range(0, len(panels), 2)], first, settings, 0.0)


@styled
def activity_picture(
    title: str, mixture: Source, activity: Activity, settings: Plots, start: float = 0.0
) -> plt.Figure:
    """Spectrogram of a recording that begins at second `start` of the song; below it the probability of singing."""
    mixed = levels(mixture, _columns(mixture, settings), settings)
    figure = _draw(title, [[_sound("mixture", mixed, mixed)]], mixture, settings, start, spare=True)
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


def _columns(source: Source, settings: Plots) -> int:
    return int(np.clip(4 * source.samples // settings.picture_frame_size, 1, _COLUMNS))


def _sound(name: str, level: np.ndarray, mixed: np.ndarray) -> Panel:
    return name, decibels(level, mixed), False


def _mask(name: str, level: np.ndarray, mixed: np.ndarray) -> Panel:
    return name, share(level, mixed), True


@plt.style.context({**STYLE, "axes.titlesize": 9.5})
def _draw(
    title: str,
    panels: Sequence[Sequence[Panel]],
    mixture: Source,
    settings: Plots,
    start: float,
    *,
    spare: bool = False,
    part: str = "vocals",
) -> plt.Figure:
    """Rows of spectrograms, whose masks say how much is that part.

    `spare` adds a last row that is left empty, with a vertical axis of its own.
    """
    top = highest(mixture.rate, settings)
    ticks = [tick for tick in (100, 500, 1000, 2000, 5000, 10000) if tick <= top]
    rows, columns = len(panels) + spare, len(panels[0])
    size = (11, (1.9 if columns > 1 else 2.3) * rows)
    figure, axes = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=not spare, squeeze=False, layout="constrained"
    )
    edges = row_edges(mixture.rate, settings)
    drawn: dict[bool, list] = {}
    for axis, (name, values, mask) in zip(axes.flat, (panel for row in panels for panel in row), strict=not spare):
        times = start + np.linspace(0, mixture.samples / mixture.rate, values.shape[1] + 1)
        low, high, colours = (0, 1, "viridis") if mask else (-settings.dynamic_range, 0.0, "magma")
        image = axis.pcolormesh(times, edges, values, vmin=low, vmax=high, cmap=colours, rasterized=True)
        drawn.setdefault(mask, []).append(image)
        axis.set_yscale("symlog", linthresh=1000, linscale=1)  # much like mel
        axis.set_ylim(LOWEST, top)
        axis.set_yticks(ticks, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_title(name, loc="left")
    for axis in axes[: len(panels), 0]:
        axis.set_ylabel("frequency (Hz)")
    for axis in axes[-1]:
        axis.set_xlabel("time (s)")
    for mask, images in drawn.items():
        name = f"mask (share that is {part})" if mask else "level (dB below the mixture's maximum)"
        beside = [image.axes for image in images] if columns == 1 else axes
        figure.colorbar(images[0], ax=beside, label=name, aspect=15 * len(beside), pad=0.015)
    headline(figure, title)
    return figure
