"""Boxplots of the methods for voices and breathing in noise."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from svs.figures import style
from svs.figures.style import INK, LIMIT, MUTED, OURS, PRETRAINED, THEIRS

_SHADES = (LIMIT, OURS, THEIRS, PRETRAINED, MUTED)  # of the SNRs, from the lowest on


@style.styled
def improvement_boxplot(table: pd.DataFrame, title: str) -> plt.Figure:
    """How much each method improves the SI-SDR, by noise (panels) and SNR (colours); a row for each kind of recording.

    Methods are sorted by their median on all noises.  Points are recordings.

    Parameters
    ----------
    table : DataFrame
        `svs.evaluation.denoised.table`.
    title : str
    """
    if table.empty:  # no recording was wanted, or all sources are for choosing
        figure = plt.figure(figsize=(6, 1))
        style.headline(figure, title)
        return figure
    cells = {kind: list(rows["noise"].unique()) for kind, rows in table.groupby("kind", sort=False)}
    methods = max(rows["method"].nunique() for _, rows in table.groupby("kind"))
    size = 1.5 + 3.2 * max(map(len, cells.values())), 1.2 + (1.2 + 0.5 * methods) * len(cells)
    figure, panels = plt.subplots(
        len(cells), max(map(len, cells.values())), figsize=size, squeeze=False, layout="constrained"
    )
    words = {snr: f"{snr:g} dB" for snr in sorted(table["snr"].unique())}
    table, snrs = table.assign(snr=table["snr"].map(words)), list(words.values())
    palette = {snr: _SHADES[place % len(_SHADES)] for place, snr in enumerate(snrs)}
    for axes, (kind, noises) in zip(panels, cells.items(), strict=True):
        rows = table[table["kind"] == kind]
        medians = rows.groupby("method")["SI_SDR_IMPROVEMENT"].median().sort_values(ascending=False, kind="stable")
        order = list(medians.index)
        for axis in axes[len(noises) :]:
            axis.set_axis_off()
        for axis, noise in zip(axes, noises, strict=False):
            shared = {"x": "SI_SDR_IMPROVEMENT", "y": "method", "order": order, "hue": "snr", "hue_order": snrs}
            those = rows[rows["noise"] == noise]
            sns.boxplot(those, **shared, **style.BOX, palette=palette, ax=axis, width=0.75, gap=0.15, legend=True)
            points = dict.fromkeys(snrs, INK)
            sns.stripplot(those, **shared, **style.POINTS, palette=points, dodge=True, size=2.5, legend=False, ax=axis)
            axis.axvline(0, color=MUTED, linestyle="--", linewidth=1, zorder=0)
            style.finish_boxes(axis, f"{kind}: {noise}", "SI-SDR improvement in dB")
            if axis is not axes[0]:
                axis.set_yticklabels([])
    style.share_legend(figure, "outside lower center", columns=5)
    style.headline(figure, title)
    return figure
