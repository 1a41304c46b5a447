"""Boxplots of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from svs.evaluation.museval_json import MEASURES
from svs.evaluation.published import FLOOR as PUBLISHED_FLOOR
from svs.evaluation.published import ORACLES as PUBLISHED_CEILINGS
from svs.figures.style import INK, LIMIT, MUTED, OURS, STYLE, THEIRS, drawable
from svs.separators import Kind, of_kind
from svs.stems import TARGETS

if TYPE_CHECKING:
    import pandas as pd


BEYOND = 60  # dB above which a ratio tells of the arithmetic, not of the separation


def sdr_boxplot(table: pd.DataFrame, note: str, published: pd.DataFrame | None = None) -> plt.Figure:
    """SDR of every method as boxes over tracks, vocals beside accompaniment.

    Methods are sorted by the median of the vocals; floor and ceiling are grey,
    with a dashed line at their medians; published systems have their own
    colour.  Points are tracks.

    Parameters
    ----------
    table : DataFrame
        `svs.evaluation.tables.track_table`, one row per track and target.
    note : str
        A line below the figure that says what was scored.
    published : DataFrame, optional
        `svs.evaluation.tables.published_table`.
    """
    # They take most of a second to import, and pictures of tracks need none.
    import pandas as pd
    import seaborn as sns

    theirs = [] if published is None else list(published["method"].unique())
    if theirs:
        table = pd.concat([table, published], ignore_index=True)
    vocals = table[table["target"] == "vocals"]
    order = list(vocals.groupby("method")["SDR"].median().sort_values(ascending=False).index)
    floors, ceilings = of_kind(Kind.FLOOR), of_kind(Kind.ORACLE)
    limits = {*floors, *ceilings} | ({PUBLISHED_FLOOR, *PUBLISHED_CEILINGS} & set(theirs))
    palette = {method: LIMIT if method in limits else THEIRS if method in theirs else OURS for method in order}
    height = 1.6 + (0.55 if len(order) < 15 else 0.3) * len(order)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(11, height), sharey=True)
        for axis, target in zip(axes, TARGETS, strict=True):
            rows = table[table["target"] == target]
            sns.boxplot(
                rows,
                x="SDR",
                y="method",
                order=order,
                hue="method",
                hue_order=order,
                palette=palette,
                legend=False,
                width=0.55,
                fliersize=0,
                linewidth=1.1,
                linecolor=INK,
                ax=axis,
            )
            sns.stripplot(
                rows,
                x="SDR",
                y="method",
                order=order,
                color=INK,
                size=3.5 if len(order) < 15 else 2.2,
                alpha=0.55,
                jitter=False,
                ax=axis,
            )
            medians = rows.groupby("method")["SDR"].median()
            for method, name in ((floors[0], "floor"), (ceilings[0], "ceiling")):
                if method in medians:
                    axis.axvline(medians[method], color=MUTED, linestyle="--", linewidth=1, zorder=0)
                    axis.annotate(
                        name,
                        (medians[method], 1.0),
                        xycoords=("data", "axes fraction"),
                        ha="center",
                        va="bottom",
                        fontsize=8.5,
                        color=MUTED,
                    )
            axis.set_title(target, loc="left", pad=18)
            axis.set_xlabel("SDR in dB, median over frames of each track")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0].set_yticks(range(len(order)), [f"{method}  {_median(vocals, method)}" for method in order])
        if theirs:
            for tick, method in zip(axes[0].get_yticklabels(), order, strict=True):
                tick.set_fontweight("normal" if method in theirs else "bold")
            handles = [
                plt.Rectangle((0, 0), 1, 1, facecolor=colour, edgecolor=INK, linewidth=0.8)
                for colour in (OURS, THEIRS, LIMIT)
            ]
            axes[1].legend(
                handles,
                ["this repository", "published (SiSEC18)", "floors and ceilings"],
                fontsize=8.5,
                loc="lower right",
                framealpha=1,
                edgecolor="white",
            )
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
        A name, and `svs.evaluation.tables.track_table`.
    note : str
        A line below the figure.
    """
    import pandas as pd
    import seaborn as sns

    names = [drawable(before[0]), drawable(after[0])]
    if names[0] == names[1]:
        names = [f"{names[0]} (before)", f"{names[1]} (after)"]
    table = pd.concat(
        [frame.assign(revision=name) for name, (_, frame) in zip(names, (before, after), strict=True)],
        ignore_index=True,
    )
    vocals = table[table["target"] == "vocals"].pivot_table(
        index="method", columns="revision", values="SDR", aggfunc="median", dropna=False
    )
    vocals = vocals.reindex(index=table["method"].unique(), columns=names)
    order = list(vocals.sort_values(names[::-1], ascending=False, na_position="last", kind="stable").index)
    few = len(order) < 15
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, 2, figsize=(11, 1.9 + (0.75 if few else 0.45) * len(order)), sharey=True, layout="constrained"
        )
        for axis, target in zip(axes, TARGETS, strict=True):
            rows = table[table["target"] == target]
            shared = {"x": "SDR", "y": "method", "hue": "revision", "order": order, "hue_order": names, "ax": axis}
            sns.boxplot(
                rows,
                **shared,
                palette={names[0]: LIMIT, names[1]: OURS},
                width=0.7,
                gap=0.12,
                fliersize=0,
                linewidth=1.1,
                linecolor=INK,
                legend=axis is axes[0],
            )
            sns.stripplot(
                rows,
                **shared,
                palette=dict.fromkeys(names, INK),
                dodge=True,
                size=3 if few else 2,
                alpha=0.55,
                jitter=False,
                legend=False,
            )
            axis.set_title(target, loc="left")
            axis.set_xlabel("SDR in dB, median over frames of each track")
            axis.set_ylabel("")
            axis.grid(axis="x", color="#e6e8eb", linewidth=0.8)
            axis.set_axisbelow(True)
        axes[0].set_yticks(
            range(len(order)), ["  ".join([method, " → ".join(map(_or_dash, vocals.loc[method]))]) for method in order]
        )
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].get_legend().remove()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, frameon=False)
        figure.supxlabel(drawable(note), x=0.01, ha="left", fontsize=8.5, color=MUTED)
    return figure


def _or_dash(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def measures_boxplot(table: pd.DataFrame, title: str) -> plt.Figure:
    """All measures as boxes, over the frames of one track or over tracks: one panel for each measure.

    Parameters
    ----------
    table : DataFrame
        `svs.evaluation.tables.frame_table` of a track, or `svs.evaluation.tables.track_table`.
    title : str
    """
    import seaborn as sns

    medians = table[table["target"] == "vocals"].groupby("method")["SDR"].median()
    order = list(medians.sort_values(ascending=False, na_position="last").index)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(MEASURES), figsize=(12, 1.9 + 0.6 * len(order)), sharey=True, layout="constrained"
        )
        for axis, measure in zip(axes, MEASURES, strict=True):
            sns.boxplot(
                table,
                x=measure,
                y="method",
                hue="target",
                order=order,
                hue_order=list(TARGETS),
                palette={"vocals": OURS, "accompaniment": LIMIT},
                width=0.7,
                gap=0.1,
                fliersize=2,
                linewidth=1,
                linecolor=INK,
                legend=axis is axes[0],
                ax=axis,
            )
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
        figure.suptitle(drawable(title), x=0.01, ha="left", fontweight="bold")
    return figure
