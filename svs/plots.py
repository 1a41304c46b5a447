"""Figures: SDR boxplots, training curves, spectrogram pictures, the networks.

Every figure is drawn from tables and files alone and carries no date or random
id, so the same input gives the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns

from svs.audio import Source, mono
from svs.errors import DataError
from svs.files import written
from svs.scores import TARGETS
from svs.settings import Plots, Representation
from svs.spectral import stft, window_sum

FLOOR, CEILING = "mixture", "oracle_ibm"
INK, MUTED, OURS, LIMIT = "#1b1f24", "#6e7781", "#2f6fb2", "#c9ced6"
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


def sdr_boxplot(table: pd.DataFrame, note: str) -> plt.Figure:
    """SDR of every method as boxes over tracks, vocals beside accompaniment.

    Methods are sorted by the median of the vocals; floor and ceiling are grey,
    with a dashed line at their medians.  Points are tracks.

    Parameters
    ----------
    table : DataFrame
        `svs.summary.track_table`, one row per track and target.
    note : str
        A line below the figure that says what was scored.
    """
    vocals = table[table["target"] == "vocals"]
    order = list(vocals.groupby("method")["SDR"].median().sort_values(ascending=False).index)
    palette = {method: LIMIT if method in (FLOOR, CEILING) else OURS for method in order}
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, 1.6 + 0.55 * len(order)), sharey=True)
        for axis, target in zip(axes, TARGETS, strict=True):
            rows = table[table["target"] == target]
            sns.boxplot(rows, x="SDR", y="method", order=order, hue="method", hue_order=order, palette=palette,
                        legend=False, width=0.55, fliersize=0, linewidth=1.1, linecolor=INK, ax=axis)
            sns.stripplot(rows, x="SDR", y="method", order=order, color=INK, size=3.5, alpha=0.55, jitter=False,
                          ax=axis)
            medians = rows.groupby("method")["SDR"].median()
            for method, name in ((FLOOR, "floor"), (CEILING, "ceiling")):
                if method in medians:
                    axis.axvline(medians[method], color=MUTED, linestyle="--", linewidth=1, zorder=0)
                    axis.annotate(name, (medians[method], 1.0), xycoords=("data", "axes fraction"), ha="center",
                                  va="bottom", fontsize=8.5, color=MUTED)
            axis.set_title(target, loc="left", pad=18)
            axis.set_xlabel("SDR in dB, median over frames of each track")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0].set_yticks(range(len(order)), [f"{method}  {_decibels(vocals, method)}" for method in order])
        figure.text(0.01, -0.03, note, fontsize=8.5, color=MUTED, ha="left", va="top")
        figure.tight_layout()
    return figure


def _decibels(rows: pd.DataFrame, method: str) -> str:
    return f"{rows.loc[rows['method'] == method, 'SDR'].median():.2f}"


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
        axes[0][0].set_ylabel("binary cross entropy (nats)")
        for axis in axes[0]:
            axis.legend(frameon=False, fontsize=8)
        figure.tight_layout()
    return figure


def separation_picture(title: str, mixture: Source, vocals: Source, estimates: Mapping[str, Source],
                       settings: Plots) -> plt.Figure:
    """Spectrograms of mixture, true vocals, and each method's mask and estimate.

    The mask is what the estimate amounts to: the ratio of its magnitude to the
    mixture's, between 0 and 1.  A passage of `picture_seconds` from the middle
    of the track is shown; frequency is on a mel-like (symlog) scale.
    """
    size = settings.picture_frame_size
    representation = Representation(sample_rate=mixture.rate, frame_size=size, win_length=size, hop_length=size // 4)
    length = min(mixture.samples, round(settings.picture_seconds * mixture.rate))
    first = (mixture.samples - length) // 2
    mixed, true = (_level(source, first, first + length, representation) for source in (mixture, vocals))
    loudest = mixed.max(initial=1e-9)
    frequencies = np.fft.rfftfreq(representation.frame_size, 1 / mixture.rate)
    times = (first + np.arange(mixed.shape[1]) * representation.hop_length) / mixture.rate
    shown = frequencies <= settings.picture_max_frequency

    def draw(axis: plt.Axes, values: np.ndarray, name: str, limits: tuple[float, float], colours: str):
        image = axis.pcolormesh(times, frequencies[shown], values[shown], vmin=limits[0], vmax=limits[1], cmap=colours,
                                shading="nearest", rasterized=True)
        axis.set_yscale("symlog", linthresh=1000, linscale=1)
        axis.set_ylim(60, settings.picture_max_frequency)
        axis.set_yticks([100, 500, 1000, 2000, 5000, 10000], ["100", "500", "1k", "2k", "5k", "10k"])
        axis.minorticks_off()
        axis.set_title(name, loc="left")
        return image

    def decibels(values: np.ndarray) -> np.ndarray:
        return 20 * np.log10(np.maximum(values / loudest, 1e-9))

    rows = 1 + len(estimates)
    quiet = (-settings.dynamic_range, 0.0)
    with plt.rc_context({**_STYLE, "axes.titlesize": 9.5}):
        figure, axes = plt.subplots(rows, 2, figsize=(11, 1.9 * rows), sharex=True, sharey=True, squeeze=False,
                                    layout="constrained")
        image = draw(axes[0][0], decibels(mixed), "mixture", quiet, "magma")
        draw(axes[0][1], decibels(true), "true vocals", quiet, "magma")
        share = None
        for row, name in zip(axes[1:], estimates, strict=True):
            level = _level(estimates[name], first, first + length, representation)
            mask = np.clip(level / np.maximum(mixed, 1e-9), 0, 1)
            share = draw(row[0], mask, f"{name}: mask", (0, 1), "viridis")
            draw(row[1], decibels(level), f"{name}: vocals", quiet, "magma")
        for row in axes:
            row[0].set_ylabel("frequency (Hz)")
        for axis in axes[-1]:
            axis.set_xlabel("time (s)")
        figure.colorbar(image, ax=axes[:, 1], label="level (dB below the mixture's maximum)", aspect=35, pad=0.015)
        if share is not None:
            figure.colorbar(share, ax=axes[:, 0], label="mask (share that is vocals)", aspect=35, pad=0.015)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def _level(source: Source, first: int, last: int, representation: Representation) -> np.ndarray:
    """Magnitudes (bins, frames) of a passage, mono."""
    return np.abs(stft(mono(source.read(first, last)), representation)) / window_sum(representation)


_HIDDEN = ("InputLayer", "LeakyReLU", "Flatten", "Reshape", "Rescaling")
_COLOURS = {"Conv2D": "#2f6fb2", "BatchNormalization": "#7fa8d1", "MaxPooling2D": "#d98b2b", "Dropout": "#b9bec6",
            "Dense": "#3b8f6b"}


def network(model: Path) -> plt.Figure:
    """A trained network as a chain of its layers, with the shapes between them.

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
    steps = []
    shape: Sequence[int] = layers[0]["config"]["batch_shape"][1:]
    steps.append(("input", "", "Input", shape))
    for layer in layers[1:]:
        kind, config = layer["class_name"], layer["config"]
        if kind == "Conv2D":
            shape = [*shape[:2], config["filters"]]
            text = f"conv\n{config['kernel_size'][0]}×{config['kernel_size'][1]}"
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
