"""Figures: SDR boxplots, training curves, spectrogram pictures, the networks.

Every figure is drawn from tables and files alone and carries no date or random
id, so the same input gives the same bytes.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import font_manager

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from svs.audio import Source, WavSource, mono
from svs.dataset import Dataset, Track
from svs.errors import DataError
from svs.files import written
from svs.published import FLOOR as PUBLISHED_FLOOR
from svs.published import ORACLES as PUBLISHED_CEILINGS
from svs.scores import MEASURES, TARGETS
from svs.settings import Plots, Representation

if TYPE_CHECKING:
    import pandas as pd

    from svs.singing import Activity

FLOOR, CEILINGS = "mixture", ("oracle_ibm", "oracle_irm")
INK, MUTED, OURS, LIMIT, THEIRS = "#1b1f24", "#6e7781", "#2f6fb2", "#c9ced6", "#e0b36a"
BEYOND = 60        # dB above which a ratio tells of the arithmetic, not of the separation
_STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.edgecolor": MUTED,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "svs", "svg.fonttype": "path", "figure.dpi": 110,
}


def save(figure: plt.Figure, path: Path) -> None:
    """Write a figure (PNG or SVG by its suffix) without dates, whole or not at all, and close it."""
    metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    # The salt of an SVG's ids counts when it is written, not when it is drawn.
    with written(path) as temporary, plt.rc_context({"svg.hashsalt": _STYLE["svg.hashsalt"]}):
        figure.savefig(temporary, metadata=metadata, bbox_inches="tight", facecolor="white")
    plt.close(figure)


def sdr_boxplot(table: pd.DataFrame, note: str, published: pd.DataFrame | None = None) -> plt.Figure:
    """SDR of every method as boxes over tracks, vocals beside accompaniment.

    Methods are sorted by the median of the vocals; floor and ceiling are grey,
    with a dashed line at their medians; published systems have their own
    colour.  Points are tracks.

    Parameters
    ----------
    table : DataFrame
        `svs.summary.track_table`, one row per track and target.
    note : str
        A line below the figure that says what was scored.
    published : DataFrame, optional
        `svs.summary.published_table`.
    """
    # They take most of a second to import, and pictures of tracks need none.
    import pandas as pd
    import seaborn as sns

    theirs = [] if published is None else list(published["method"].unique())
    if theirs:
        table = pd.concat([table, published], ignore_index=True)
    vocals = table[table["target"] == "vocals"]
    order = list(vocals.groupby("method")["SDR"].median().sort_values(ascending=False).index)
    limits = {FLOOR, *CEILINGS} | ({PUBLISHED_FLOOR, *PUBLISHED_CEILINGS} & set(theirs))
    palette = {method: LIMIT if method in limits else THEIRS if method in theirs else OURS for method in order}
    height = 1.6 + (0.55 if len(order) < 15 else 0.3) * len(order)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, height), sharey=True)
        for axis, target in zip(axes, TARGETS, strict=True):
            rows = table[table["target"] == target]
            sns.boxplot(rows, x="SDR", y="method", order=order, hue="method", hue_order=order, palette=palette,
                        legend=False, width=0.55, fliersize=0, linewidth=1.1, linecolor=INK, ax=axis)
            sns.stripplot(rows, x="SDR", y="method", order=order, color=INK, size=3.5 if len(order) < 15 else 2.2,
                          alpha=0.55, jitter=False, ax=axis)
            medians = rows.groupby("method")["SDR"].median()
            for method, name in ((FLOOR, "floor"), (CEILINGS[0], "ceiling")):
                if method in medians:
                    axis.axvline(medians[method], color=MUTED, linestyle="--", linewidth=1, zorder=0)
                    axis.annotate(name, (medians[method], 1.0), xycoords=("data", "axes fraction"), ha="center",
                                  va="bottom", fontsize=8.5, color=MUTED)
            axis.set_title(target, loc="left", pad=18)
            axis.set_xlabel("SDR in dB, median over frames of each track")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0].set_yticks(range(len(order)), [f"{method}  {_median(vocals, method)}" for method in order])
        if theirs:
            for tick, method in zip(axes[0].get_yticklabels(), order, strict=True):
                tick.set_fontweight("normal" if method in theirs else "bold")
            handles = [plt.Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor=INK, linewidth=0.8)
                       for colour in (OURS, THEIRS, LIMIT)]
            axes[1].legend(handles, ["this repository", "published (SiSEC18)", "floors and ceilings"], fontsize=8.5,
                           loc="lower right", framealpha=1, edgecolor="white")
        figure.text(0.01, -0.3 / height, note, fontsize=8.5, color=MUTED, ha="left", va="top")
        figure.tight_layout()
    return figure


def published_note(published: pd.DataFrame) -> str:
    """What a figure must say of the published systems in it."""
    if published.empty:
        return "published systems: left out (parameters reference.source, reference.path)"
    systems, tracks = published["method"].nunique(), published["track"].nunique()
    note = f"SiSEC18: {systems} published systems on {tracks} of these tracks"
    if published["ISR"].isna().all():
        note += ", on the same seconds; they heard the whole tracks, ours just what is in the data set"
    return note


def _median(rows: pd.DataFrame, method: str) -> str:
    return f"{rows.loc[rows['method'] == method, 'SDR'].median():.2f}"


def revisions_boxplot(before: tuple[str, pd.DataFrame], after: tuple[str, pd.DataFrame], note: str) -> plt.Figure:
    """SDR of every method at two revisions, one box above the other, vocals beside accompaniment.

    Methods are sorted by the later median of the vocals, those that are gone last.  Points are tracks.

    Parameters
    ----------
    before, after : tuple of str and DataFrame
        A name, and `svs.summary.track_table`.
    note : str
        A line below the figure.
    """
    import pandas as pd
    import seaborn as sns

    names = [_shown(before[0]), _shown(after[0])]
    if names[0] == names[1]:
        names = [f"{names[0]} (before)", f"{names[1]} (after)"]
    table = pd.concat([frame.assign(revision=name) for name, (_, frame) in zip(names, (before, after), strict=True)],
                      ignore_index=True)
    vocals = table[table["target"] == "vocals"].pivot_table(index="method", columns="revision", values="SDR",
                                                            aggfunc="median", dropna=False)
    vocals = vocals.reindex(index=table["method"].unique(), columns=names)
    order = list(vocals.sort_values(names[::-1], ascending=False, na_position="last", kind="stable").index)
    few = len(order) < 15
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 1.9 + (0.75 if few else 0.45) * len(order)), sharey=True,
                                    layout="constrained")
        for axis, target in zip(axes, TARGETS, strict=True):
            rows = table[table["target"] == target]
            shared = {"x": "SDR", "y": "method", "hue": "revision", "order": order, "hue_order": names, "ax": axis}
            sns.boxplot(rows, **shared, palette={names[0]: LIMIT, names[1]: OURS}, width=0.7, gap=0.12, fliersize=0,
                        linewidth=1.1, linecolor=INK, legend=axis is axes[0])
            sns.stripplot(rows, **shared, palette=dict.fromkeys(names, INK), dodge=True, size=3 if few else 2,
                          alpha=0.55, jitter=False, legend=False)
            axis.set_title(target, loc="left")
            axis.set_xlabel("SDR in dB, median over frames of each track")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0].set_yticks(range(len(order)), ["  ".join([method, " → ".join(map(_or_dash, vocals.loc[method]))])
                                               for method in order])
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
        figure.supxlabel(_shown(note), x=0.01, ha="left", fontsize=8.5, color=MUTED)
    return figure


def _or_dash(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def measures_boxplot(table: pd.DataFrame, title: str) -> plt.Figure:
    """All measures as boxes, over the frames of one track or over tracks: one panel for each measure.

    Parameters
    ----------
    table : DataFrame
        `svs.summary.frame_table` of a track, or `svs.summary.track_table`.
    title : str
    """
    import seaborn as sns

    medians = table[table["target"] == "vocals"].groupby("method")["SDR"].median()
    order = list(medians.sort_values(ascending=False, na_position="last").index)
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(MEASURES), figsize=(12, 1.9 + 0.6 * len(order)), sharey=True,
                                    layout="constrained")
        for axis, measure in zip(axes, MEASURES, strict=True):
            sns.boxplot(table, x=measure, y="method", hue="target", order=order, hue_order=list(TARGETS),
                        palette={"vocals": OURS, "accompaniment": LIMIT}, width=0.7, gap=0.1, fliersize=2,
                        linewidth=1, linecolor=INK, legend=axis is axes[0], ax=axis)
            axis.set_title(measure, loc="left")
            axis.set_xlabel("dB")
            values = table[measure][np.isfinite(table[measure])]
            if (beyond := values > BEYOND).any() and not beyond.all():
                # An estimate without artefacts (the mixture) has a SAR of the arithmetic, which would squeeze the rest.
                axis.set_xlim(right=1.15 * values[~beyond].max())
                axis.set_xlabel(f"dB ({beyond.sum()} values above {BEYOND} not shown)")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.suptitle(_shown(title), x=0.01, ha="left", fontweight="bold")
    return figure


def training_curves(curves: Mapping[str, pd.DataFrame], reference: Mapping[str, float]) -> plt.Figure:
    """Loss and validation loss by epoch, one panel for each training.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        Columns epoch, loss, val_loss.
    reference : mapping of str to float
        Validation losses that the dissertation reports, drawn as a line.
    """
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, len(curves), figsize=(3.4 * len(curves), 3), squeeze=False)
        for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
            marker = "o" if len(curve) < 30 else None
            axis.plot(curve["epoch"], curve["loss"], color=MUTED, marker=marker, markersize=3, label="training")
            axis.plot(curve["epoch"], curve["val_loss"], color=OURS, marker=marker, markersize=3, label="validation")
            if name in reference:
                axis.axhline(reference[name], color=INK, linestyle=":", linewidth=1, label="seed's validation")
            best = curve.loc[curve["val_loss"].idxmin()]
            axis.annotate(f"{best['val_loss']:.4f}", (best["epoch"], best["val_loss"]), xytext=(0, -13),
                          textcoords="offset points", ha="center", fontsize=8.5, color=OURS)
            axis.set_title(name, loc="left")
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.margins(x=0.08, y=0.18)
            axis.grid(color="#e6e8eb", linewidth=0.8)
        for number, (axis, curve) in enumerate(zip(axes[0], curves.values(), strict=True)):
            if curve["val_loss"].min() < 0:       # no cross entropy
                axis.set_ylabel("error beside the mixture (dB)")
            elif number == 0:
                axis.set_ylabel("binary cross entropy (nats)")
        for axis in axes[0]:
            axis.legend(frameon=False, fontsize=8)
        figure.tight_layout()
    return figure


def draw_track(track: Track, *, data: Dataset, estimates: Path, methods: Sequence[str], folder: Path,
               settings: Plots) -> None:
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


def separation_picture(title: str, mixture: Source, vocals: Source, estimates: Mapping[str, Source],
                       settings: Plots) -> plt.Figure:
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
        panels.append([(f"{name}: mask", None, _share(level, mixed)),
                       (f"{name}: vocals", _decibels(level, mixed), None)])
    return _panels(title, panels, centres / mixture.rate, representation, settings)


def result_picture(title: str, mixture: Source, estimate: Source, settings: Plots, *, name: str = "vocals",
                   start: float = 0.0) -> plt.Figure:
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
    panels = [[("mixture", _decibels(mixed, mixed), None)], [(name, _decibels(level, mixed), None)],
              [("soft mask", None, _share(level, mixed))]]
    figure = _panels(title, panels, start + centres / mixture.rate, representation, settings, bands)
    figure.axes[0].set_xlim(start, start + mixture.samples / mixture.rate)      # of all rows; cells reach beyond
    return figure


def activity_picture(title: str, mixture: Source, activity: Activity, settings: Plots,
                     start: float = 0.0) -> plt.Figure:
    """Spectrogram of a recording, and below it where somebody sings.

    Parameters
    ----------
    title : str
    mixture : Source
    activity : svs.singing.Activity
    settings : Plots
    start : float
        Seconds, in the song, at which the recording begins.
    """
    representation = _resolution(mixture.rate, settings)
    step = max(representation.hop_length, -(-mixture.samples // _COLUMNS))
    centres = np.arange(0, mixture.samples, step)
    bands = _bands(representation)
    mixed = _levels(mixture, centres, representation, bands)
    figure = _panels(title, [[("mixture", _decibels(mixed, mixed), None)], None], start + centres / mixture.rate,
                     representation, settings, bands)
    axis = figure.axes[1]
    with plt.rc_context(_STYLE):
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


_COLUMNS = 1600        # frames of a picture of a whole recording: more can't be told apart
_LINEAR = 1000         # Hz up to which the axis of frequency is linear; above, logarithmic
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


def _levels(source: Source, centres: np.ndarray, representation: Representation,
            bands: np.ndarray | None = None) -> np.ndarray:
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
        frame[max(-start, 0):max(-start, 0) + len(audio)] = audio
        levels[:, column] = np.add.reduceat(np.abs(np.fft.rfft(frame * window)), rows) / widths
    return levels / window.sum()


def _decibels(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """dB below the mixture's loudest bin."""
    return 20 * np.log10(np.maximum(level / max(float(mixed.max(initial=0)), _SILENCE), _SILENCE))


def _share(level: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    return np.clip(level / np.maximum(mixed, _SILENCE), 0, 1)


def _panels(title: str, panels: list[list[tuple[str, np.ndarray | None, np.ndarray | None]] | None], times: np.ndarray,
            representation: Representation, settings: Plots, bands: np.ndarray | None = None) -> plt.Figure:
    """Rows of spectrograms: each panel has a name, and decibels or a mask (bins or bands, frames).

    A last row of None is left empty, with a vertical axis of its own.
    """
    first = np.arange(representation.bins) if bands is None else bands       # bin of each row
    width = representation.sample_rate / representation.frame_size
    highest = min(settings.picture_max_frequency, representation.sample_rate / 2)
    shown = first * width <= highest
    edges = (np.append(first, representation.bins)[:np.count_nonzero(shown) + 1] - 0.5) * width
    rows, columns = len(panels), len(panels[0])
    empty, panels = [row for row, drawn in enumerate(panels) if drawn is None], [drawn for drawn in panels if drawn]
    with plt.rc_context({**_STYLE, "axes.titlesize": 9.5}):
        figure, axes = plt.subplots(rows, columns, figsize=(11, (1.9 if columns > 1 else 2.3) * rows), sharex=True,
                                    sharey=not empty, squeeze=False, layout="constrained")
        loud, masks = [], []
        for line, drawn in zip(axes, panels, strict=not empty):
            for axis, (name, decibels, mask) in zip(line, drawn, strict=True):
                values, limits, colours = (decibels, (-settings.dynamic_range, 0.0), "magma") if mask is None \
                    else (mask, (0, 1), "viridis")
                image = axis.pcolormesh(_edges(times), edges, values[shown], vmin=limits[0],
                                        vmax=limits[1], cmap=colours, rasterized=True)
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
        figure.colorbar(loud[0][0], ax=column, label="level (dB below the mixture's maximum)" if columns > 1
                        else "level (dB)", aspect=max(35, 12 * rows) if columns > 1 else 30, pad=0.015)
        if masks:
            column = axes[:, 0] if columns > 1 else [axis for _, axis in masks]
            figure.colorbar(masks[0][0], ax=column, label="mask (share that is vocals)" if columns > 1
                            else "mask (share)", aspect=max(35, 12 * rows) if columns > 1 else 15, pad=0.015)
        figure.suptitle(_shown(title), x=0.01, ha="left", fontweight="bold")
    return figure


def _edges(centres: np.ndarray) -> np.ndarray:
    """Where the cells of a picture meet, halfway between their centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[centres[0] - (middle[0] - centres[0])], middle,
                           [centres[-1] + (centres[-1] - middle[-1])]])


def _shown(title: str) -> str:
    """A title as text that the font can draw: a dollar sign would begin a formula, an emoji has no glyph."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    drawable = "".join(sign if font.get_char_index(ord(sign)) else "\N{WHITE SQUARE}" for sign in title)
    return drawable.replace("$", r"\$")[:120]


_HIDDEN = ("InputLayer", "LeakyReLU", "Flatten", "Reshape", "Rescaling", "ZeroPadding2D")
_COLOURS = {"Conv2D": "#2f6fb2", "BatchNormalization": "#7fa8d1", "MaxPooling2D": "#d98b2b", "Dropout": "#b9bec6",
            "Dense": "#3b8f6b"}


def network(model: Path) -> plt.Figure:
    """A trained network as a chain of its layers, or the U of a U-Net, with the shapes between them.

    Reads the archive's own description, so Keras is not imported.

    Parameters
    ----------
    model : Path
        A `.keras` file.
    """
    try:
        with zipfile.ZipFile(model) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{model}: expected a .keras archive ({error}); train it with `dvc repro`") from None
    if members := _members(layers):
        return _passage_net(model.parent.name, layers, members)
    steps = []
    shape: Sequence[int] = layers[0]["config"]["batch_shape"][1:]
    steps.append(("input", "", "Input", shape))
    for layer in layers[1:]:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2D":
            lost = [size - 1 if config["padding"] == "valid" else 0 for size in config["kernel_size"]]
            shape = [size - less for size, less in zip(shape[:2], lost, strict=True)] + [config["filters"]]
            text = f"conv\n{config['kernel_size'][0]}×{config['kernel_size'][1]}"
        elif kind == "ZeroPadding2D":
            shape = [size + sum(more) for size, more in zip(shape[:2], config["padding"], strict=True)] + [shape[2]]
        elif kind == "MaxPooling2D":
            shape = [size // pool for size, pool in zip(shape[:2], config["pool_size"], strict=True)] + [shape[2]]
            text = f"pool\n{config['pool_size'][0]}×{config['pool_size'][1]}"
        elif kind == "Dense":
            shape, text = [config["units"]], "dense"
        elif kind == "Dropout":
            text = f"dropout\n{config['rate']:g}"
        elif kind == "BatchNormalization":
            text = "batch\nnorm"
        elif kind == "Flatten":
            shape = [int(np.prod(shape))]
        elif kind == "Reshape":
            shape = config["target_shape"]
        if kind not in _HIDDEN:
            steps.append((text, kind, "", shape))
    steps.append(("mask\n(sigmoid)", "", "Output", shape))
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(0.92 * len(steps), 2.9))
        for position, (text, kind, _, size) in enumerate(steps):
            # Height stands for the values that a layer gives, on a logarithmic scale.
            height = 0.25 + 0.12 * np.log10(np.prod(size))
            colour = _COLOURS.get(kind, "#ffffff")
            axis.add_patch(plt.Rectangle((position - 0.36, -height / 2), 0.72, height, facecolor=colour,
                                         edgecolor=INK, linewidth=0.8))
            dark = kind in ("Conv2D", "Dense")
            axis.text(position, 0, text, ha="center", va="center", fontsize=7.8, color="white" if dark else INK)
            axis.text(position, -0.62, "×".join(map(str, size)), ha="center", va="top", fontsize=7.5, color=MUTED,
                      rotation=28, rotation_mode="anchor")
            if position:
                axis.annotate("", (position - 0.37, 0), (position - 0.63, 0),
                              arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8})
        axis.set_xlim(-0.6, len(steps) - 0.4)
        axis.set_ylim(-1.05, 0.62)
        axis.axis("off")
        axis.set_title(f"{model.parent.name}   (LeakyReLU 0.3 after every convolution and hidden dense layer)",
                       loc="left", fontsize=9.5)
    return figure


def _members(layers: Sequence[dict]) -> dict[str, list[dict]]:
    """Layers of each member of a net of `svs.models.unet_separator`, in the order that they were made in."""
    members: dict[str, list[tuple[int, dict]]] = {}
    for layer in layers:
        if named := re.fullmatch(r"((?:unet|fullband)\d+)_\w*?_?(\d+)", layer["config"].get("name", "")):
            members.setdefault(named[1], []).append((int(named[2]), layer))
    return {member: [layer for _, layer in sorted(members[member], key=itemgetter(0))] for member in sorted(members)}


def _passage_net(name: str, layers: Sequence[dict], members: Mapping[str, Sequence[dict]]) -> plt.Figure:
    """The first U-Net, with its levels from left to right and its skips, and beneath it the first full-band net."""
    bins = layers[0]["config"]["batch_shape"][2]
    folded = next(layer["config"]["target_shape"] for layer in layers if layer["class_name"] == "Reshape")
    levels = _u_net(members.get("unet1", []))
    blocks = _full_band(members.get("fullband1", []))
    depth = max((level for level, _, _ in levels), default=-1)
    height = depth + 1 + 1.25 * bool(blocks)
    with plt.rc_context(_STYLE):
        figure, axis = plt.subplots(figsize=(1.75 * max(len(levels), len(blocks)) + 0.6, 1.55 * height))

        def box(position: int, at: float, lines: list[str], above: str) -> None:
            axis.add_patch(plt.Rectangle((position - 0.43, at - 0.36), 0.86, 0.72, facecolor=_COLOURS["Conv2D"],
                                         edgecolor=INK, linewidth=0.8))
            axis.text(position, at, "\n".join(lines), ha="center", va="center", fontsize=6.4, color="white")
            axis.text(position, at + 0.39, above, ha="center", va="bottom", fontsize=7.2, color=MUTED)

        def arrow(end: tuple[float, float], start: tuple[float, float], **style: Any) -> None:
            axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.8} | style)

        for position, (level, channels, lines) in enumerate(levels):
            box(position, -level, lines, f"{folded[1] >> level} bins × {channels}")
            if position:
                arrow((position - 0.44, -level), (position - 0.57, -levels[position - 1][0]))
        for position in range(len(levels) // 2):
            at = 0.2 - levels[position][0]
            arrow((len(levels) - 1 - position - 0.45, at), (position + 0.45, at), color=MUTED, linestyle="--")
        for position, (lines, above) in enumerate(blocks):
            box(position, -depth - 1.25, lines, above)
            if position:
                arrow((position - 0.44, -depth - 1.25), (position - 0.57, -depth - 1.25))
        axis.set_xlim(-0.6, max(len(levels), len(blocks)) - 0.4)
        axis.set_ylim(0.5 - height, 0.68)
        axis.axis("off")
        kinds = Counter(member.rstrip("0123456789") for member in members)
        more = "" if len(members) == 1 else (f"\none of each kind: the mask is the mean of {len(members)} "
                                             f"(U-Nets: {kinds['unet']}, full-band nets: {kinds['fullband']})")
        axis.set_title(f"{name}   (stereo log magnitudes of {bins} bins, {bins // folded[1]} neighbours folded into "
                       f"channels; dashed: skips that are added){more}", loc="left", fontsize=9.5)
    return figure


def _u_net(layers: Sequence[dict]) -> list[tuple[int, int, list[str]]]:
    """A U-Net's places from left to right: level, channels, lines of what is done there."""
    level, places = 0, []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2DTranspose" or kind == "Conv2D" and tuple(config["strides"]) == (2, 2):
            level += 1 if kind == "Conv2D" else -1
            places.append((level, config["filters"], ["up 2×2" if kind == "Conv2DTranspose" else "down 2×2"]))
        elif kind == "Conv2D":
            if not places:
                places.append((0, config["filters"], []))
            places[-1][2].append(f"conv {config['kernel_size'][0]}×{config['kernel_size'][1]}, {config['filters']}")
        elif kind == "Dense":
            places[-1][2].append(f"dense {config['units']} (frequency)")
    return places


def _full_band(layers: Sequence[dict]) -> list[tuple[list[str], str]]:
    """A full-band net's places from left to right: lines of what is done there, and what comes out."""
    places: list[tuple[list[str], str]] = []
    lines: list[str] = []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Dense":
            lines.append(f"dense {config['units']}")
            if not places or config["activation"] == "linear":        # the first one, and the last of a block
                places.append((lines, f"{config['units']} channels"))
                lines = []
        elif kind == "Conv1D":
            lines.append(f"conv {config['kernel_size'][0]} frames, {config['filters']},")
            lines.append(f"{config['dilation_rate'][0]} apart")
    return places
