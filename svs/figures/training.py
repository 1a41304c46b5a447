"""Training curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt

from svs.figures.style import INK, MUTED, OURS, STYLE

if TYPE_CHECKING:
    import pandas as pd


def training_curves(curves: Mapping[str, pd.DataFrame], reference: Mapping[str, float]) -> plt.Figure:
    """Loss and validation loss by epoch, one panel for each training.

    Parameters
    ----------
    curves : mapping of str to DataFrame
        Columns epoch, loss, val_loss.
    reference : mapping of str to float
        Validation losses that the dissertation reports, drawn as a line.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(curves), figsize=(3.4 * len(curves), 3), squeeze=False)
        for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
            marker = "o" if len(curve) < 30 else None
            axis.plot(curve["epoch"], curve["loss"], color=MUTED, marker=marker, markersize=3, label="training")
            axis.plot(curve["epoch"], curve["val_loss"], color=OURS, marker=marker, markersize=3, label="validation")
            if name in reference:
                axis.axhline(reference[name], color=INK, linestyle=":", linewidth=1, label="dissertation's validation")
            best = curve.loc[curve["val_loss"].idxmin()]
            axis.annotate(
                f"{best['val_loss']:.4f}",
                (best["epoch"], best["val_loss"]),
                xytext=(0, -13),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=OURS,
            )
            axis.set_title(name, loc="left")
            axis.set_xlabel("epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.margins(x=0.08, y=0.18)
            axis.grid(color="#e6e8eb", linewidth=0.8)
        for number, (axis, curve) in enumerate(zip(axes[0], curves.values(), strict=True)):
            if curve["val_loss"].min() < 0:  # no cross entropy
                axis.set_ylabel("error beside the mixture (dB)")
            elif number == 0:
                axis.set_ylabel("binary cross entropy (nats)")
        for axis in axes[0]:
            axis.legend(frameon=False, fontsize=8)
        figure.tight_layout()
    return figure
