"""Boxplots of scores."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from svs.evaluation import rulers
from svs.evaluation.museval_json import MEASURES
from svs.evaluation.published import FLOOR as PUBLISHED_FLOOR
from svs.evaluation.published import ORACLES as PUBLISHED_CEILINGS
from svs.figures import style
from svs.figures.style import INK, LIMIT, MUTED, OURS, PRETRAINED, THEIRS
from svs.separators import Kind, of_kind
from svs.stems import TARGETS

BEYOND = 60  # dB above which a ratio shows rounding errors, not separation
_FEW = 15  # methods from which boxes are drawn closer together
_LABEL = "SDR in dB, median over frames of each track"


@style.styled
def sdr_boxplot(table: pd.DataFrame, note: str, published: pd.DataFrame | None = None) -> plt.Figure:
    """SDR of every method as boxes over tracks, vocals beside accompaniment.

    Methods are sorted by the median of the vocals; floor and ceiling are grey,
    with a dashed line at their medians; methods that others trained and
    published systems have colours of their own.  Points are tracks.  Each data
    set has a row of its own.

    Parameters
    ----------
    table : DataFrame
        `svs.evaluation.tables.track_table`, one row per track and target.
    note : str
        A line below the figure.
    published : DataFrame, optional
        `svs.evaluation.tables.published_table`.
    """
    theirs = [] if published is None else list(published["method"].unique())
    if published is not None and theirs:
        table = pd.concat([table, published], ignore_index=True)
    parts = _by_dataset(table)
    palette = dict.fromkeys(table["method"].unique(), OURS) | dict.fromkeys(theirs, THEIRS)
    palette |= dict.fromkeys(of_kind(Kind.PRETRAINED), PRETRAINED)
    palette |= dict.fromkeys([*of_kind(Kind.FLOOR), *of_kind(Kind.ORACLE), PUBLISHED_FLOOR, *PUBLISHED_CEILINGS], LIMIT)
    count = max(part["method"].nunique() for part in parts.values())
    few = count < _FEW
    height = (1.6 + (0.55 if few else 0.3) * count) * len(parts)
    figure, axes = plt.subplots(len(parts), 2, figsize=(11, height), sharey="row", squeeze=False)
    for pair, (name, part) in zip(axes, parts.items(), strict=True):
        used = _sdr_boxes(pair, part, palette, theirs, name, few)
    _colour_legend(axes[-1][1], used)
    figure.text(0.01, -0.3 / height, style.literal(note), fontsize=8.5, color=MUTED, ha="left", va="top")
    figure.tight_layout()
    return figure


def _by_dataset(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each data set, drawn by themselves; all of them as "" where one alone is scored.

    Rows without a data set (published systems, a revision that scored one alone) go to that of their track.
    """
    if "dataset" not in table:
        return {"": table}
    sets = table.dropna(subset="dataset").drop_duplicates("track").set_index("track")["dataset"]
    return dict(list(table.groupby(table["dataset"].fillna(table["track"].map(sets)).fillna(""), sort=False)))


def _titled(name: str, title: str) -> str:
    return f"{style.drawable(name)}: {title}" if name else title


def _sdr_boxes(
    axes: Sequence[plt.Axes], table: pd.DataFrame, palette: dict[str, str], theirs: Sequence[str], name: str, few: bool
) -> set[str]:
    """The boxes of one data set (`name`, empty if there is one alone), a target on each axis; returns their colours."""
    vocals = table[table["target"] == "vocals"].groupby("method")["SDR"].median().sort_values(ascending=False)
    order = list(vocals.index)
    palette = {method: palette[method] for method in order}
    floors, ceilings = of_kind(Kind.FLOOR), of_kind(Kind.ORACLE)
    for axis, target in zip(axes, TARGETS, strict=True):
        rows = table[table["target"] == target]
        shared = {"x": "SDR", "y": "method", "order": order, "ax": axis}
        style.boxplot(
            rows, **shared, **style.BOX, hue="method", hue_order=order, palette=palette, legend=False, width=0.55
        )
        sns.stripplot(rows, **shared, **style.POINTS, color=INK, size=3.5 if few else 2.2)
        medians = rows.groupby("method")["SDR"].median()
        for method, limit in ((floors[0], "floor"), (ceilings[0], "ceiling")):
            if method in medians:
                _mark(axis, medians[method], limit)
        style.finish_boxes(axis, _titled(name, target), _LABEL, pad=18)
    labels = [f"{style.literal(method)}  {median:.2f}" for method, median in vocals.items()]
    axes[0].set_yticks(range(len(order)), labels)
    if theirs:
        for tick, method in zip(axes[0].get_yticklabels(), order, strict=True):
            tick.set_fontweight("normal" if method in theirs else "bold")
    return set(palette.values())


def _mark(axis: plt.Axes, value: float, name: str) -> None:
    """A dashed line over the whole axis, named above it."""
    axis.axvline(value, color=MUTED, linestyle="--", linewidth=1, zorder=0)
    above = ("data", "axes fraction")
    axis.annotate(name, (value, 1.0), xycoords=above, ha="center", va="bottom", fontsize=8.5, color=MUTED)


def _colour_legend(axis: plt.Axes, used: set[str]) -> None:
    names = {
        OURS: "this repository",
        PRETRAINED: "pretrained by others",
        THEIRS: "published (SiSEC18)",
        LIMIT: "floors and ceilings",
    }
    boxes = {
        name: plt.Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor=INK, linewidth=0.8)
        for colour, name in names.items()
        if colour in used
    }
    axis.legend(boxes.values(), boxes.keys(), fontsize=8.5, loc="lower right", framealpha=1, edgecolor="white")


def published_note(published: pd.DataFrame) -> str:
    """What a figure must say of the published systems in it."""
    if published.empty:
        return "published systems: left out (parameters reference.source, reference.path)"
    systems, tracks = published["method"].nunique(), published["track"].nunique()
    note = f"SiSEC18: {systems} published systems on {tracks} of these tracks"
    if published["ISR"].isna().all():
        note += ", on the same seconds; they heard the whole tracks, ours just what is in the data set"
    return note


@style.styled
def revisions_boxplot(before: tuple[str, pd.DataFrame], after: tuple[str, pd.DataFrame], note: str) -> plt.Figure:
    """SDR of every method at two revisions, one box above the other, vocals beside accompaniment; `note` stands below.

    Methods are sorted by the later median of the vocals; methods that are gone come last.  Points are tracks.  Each
    data set has a row of its own.  A revision is its name and `svs.evaluation.tables.track_table`.
    """
    names = [f"before: {style.drawable(before[0])}", f"after: {style.drawable(after[0])}"]
    frames = [frame.assign(revision=name) for name, (_, frame) in zip(names, (before, after), strict=True)]
    parts = _by_dataset(pd.concat(frames, ignore_index=True))
    height = sum(1.9 + 0.6 * part["method"].nunique() for part in parts.values())
    figure, axes = plt.subplots(len(parts), 2, figsize=(11, height), sharey="row", squeeze=False, layout="constrained")
    for pair, (name, part) in zip(axes, parts.items(), strict=True):
        _revisions_boxes(pair, part, names, name)
    style.share_legend(figure, "outside upper right")
    figure.supxlabel(style.drawable(note), x=0.01, ha="left", fontsize=8.5, color=MUTED)
    return figure


def _revisions_boxes(axes: Sequence[plt.Axes], table: pd.DataFrame, names: list[str], dataset: str) -> None:
    """The boxes of one data set (empty if there is one alone) at two revisions, a target on each axis."""
    vocals = table[table["target"] == "vocals"].pivot_table(
        index="method", columns="revision", values="SDR", aggfunc="median", dropna=False
    )
    vocals = vocals.reindex(index=table["method"].unique(), columns=names)
    order = list(vocals.sort_values(names[::-1], ascending=False, na_position="last", kind="stable").index)
    for axis, target in zip(axes, TARGETS, strict=True):
        rows = table[table["target"] == target]
        shared = {"x": "SDR", "y": "method", "hue": "revision", "order": order, "hue_order": names, "ax": axis}
        palette = dict(zip(names, (LIMIT, OURS), strict=True))
        style.boxplot(rows, **shared, **style.BOX, palette=palette, width=0.7, gap=0.12, legend=axis is axes[0])
        palette = dict.fromkeys(names, INK)
        sns.stripplot(rows, **shared, **style.POINTS, palette=palette, dodge=True, size=2.5, legend=False)
        style.finish_boxes(axis, _titled(dataset, target), _LABEL)
    axes[0].set_yticks(range(len(order)), [f"{method}  {_arrow(vocals.loc[method])}" for method in order])


def _arrow(values: Sequence[float]) -> str:
    return " → ".join(f"{value:.2f}" if np.isfinite(value) else "–" for value in values)


@style.styled
def measures_boxplot(table: pd.DataFrame, title: str) -> plt.Figure:
    """All measures as boxes, one panel each: frames of a track (`svs.evaluation.tables.frame_table`), or tracks.

    The figures of rulers in the table have panels too.  Each data set has a row of panels of its own.
    """
    measures = [*MEASURES, *(name for name in rulers.present(table) if np.isfinite(table[name]).any())]
    parts = _by_dataset(table)
    size = (3 * len(measures), sum(1.9 + 0.6 * part["method"].nunique() for part in parts.values()))
    figure, axes = plt.subplots(
        len(parts), len(measures), figsize=size, sharey="row", squeeze=False, layout="constrained"
    )
    for row, (name, part) in zip(axes, parts.items(), strict=True):
        _measures_boxes(row, part, measures, name)
    style.share_legend(figure, "outside lower center")
    style.headline(figure, title)
    return figure


def _measures_boxes(axes: Sequence[plt.Axes], table: pd.DataFrame, measures: list[str], dataset: str) -> None:
    """The boxes of one data set (empty if there is one alone), a measure on each axis."""
    medians = table[table["target"] == "vocals"].groupby("method")["SDR"].median()
    order = list(medians.sort_values(ascending=False, na_position="last").index)
    look = {**style.BOX, "fliersize": 2, "linewidth": 1, "palette": {"vocals": OURS, "accompaniment": LIMIT}}
    shared = {"y": "method", "hue": "target", "order": order, "hue_order": list(TARGETS)}
    for axis, measure in zip(axes, measures, strict=True):
        style.boxplot(table, x=measure, ax=axis, **shared, **look, width=0.7, gap=0.1, legend=axis is axes[0])
        values, label = table[measure][np.isfinite(table[measure])], rulers.UNITS.get(measure, "dB")
        if label == "dB" and (beyond := values > BEYOND).any() and not beyond.all():
            # An estimate without artefacts (the mixture) has a SAR of rounding errors, which would squeeze the rest.
            highest = values[~beyond].max()
            axis.set_xlim(right=highest + 0.15 * abs(highest))
            label = f"dB ({beyond.sum()} values above {BEYOND} not shown)"
        style.finish_boxes(axis, _titled(dataset, measure), label)
