"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt

from svs.figures.style import GRID, INK, MUTED, OURS, styled

if TYPE_CHECKING:
    import pandas as pd


@styled
def training_curves(curves: Mapping[str, pd.DataFrame], reference: Mapping[str, float]) -> plt.Figure:
    """Loss and validation loss by epoch, one panel for each training; a ring marks the best epoch.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        Columns epoch, loss, val_loss.
    reference : mapping of str to float
        Validation losses that the dissertation reports, drawn as a line.
    """
    figure, axes = plt.subplots(1, len(curves), figsize=(3.4 * len(curves), 3), squeeze=False)
    for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
        points: dict[str, Any] = {"marker": "o" if len(curve) < 30 else None, "markersize": 3}
        axis.plot(curve["epoch"], curve["loss"], color=MUTED, label="training", **points)
        best = curve.loc[curve["val_loss"].idxmin()]
        axis.plot(
            curve["epoch"], curve["val_loss"], color=OURS, label=f"validation, best {best['val_loss']:.4f}", **points
        )
        axis.plot(best["epoch"], best["val_loss"], "o", markersize=8, fillstyle="none", color=OURS)
        if name in reference:
            axis.axhline(reference[name], color=INK, linestyle=":", linewidth=1, label="dissertation's validation")
        axis.set_title(name, loc="left")
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.margins(x=0.08, y=0.18)
        axis.grid(color=GRID, linewidth=0.8)
        if curve["val_loss"].min() < 0:  # no cross entropy
            axis.set_ylabel("error beside the mixture (dB)")
        elif axis is axes[0, 0]:
            axis.set_ylabel("binary cross entropy (nats)")
        axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    return figure
