"""The rulers beside BSS Eval v4, which the parameter `score.rulers` chooses: their names, their figures, their files.

A ruler gives one figure or several for each track and target.  `svs.evaluation.scoring.measuring` computes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from svs.runtime.files import read_json

if TYPE_CHECKING:
    import pandas as pd

RULERS = "rulers"  # the folder of their files beside those of the protocols
# The columns of each ruler in tables, in their order.  SECONDS, the length that was scored, weights means over clips.
SECONDS = "seconds"
COLUMNS: dict[str, tuple[str, ...]] = {
    "uSDR": ("uSDR",),
    "SI_SDR": ("SI_SDR",),
    "log_WMSE": ("log_WMSE",),
    "MR_STFT": ("MR_STFT",),
    "bsseval_v3": ("SDR_v3", "SIR_v3", "SAR_v3", "NSDR", SECONDS),
    "bsseval_v3_frames": ("SDR_v3_frames", "SIR_v3_frames", "SAR_v3_frames"),
}
# What a figure is given in; all others are in dB, and higher is better.
UNITS = {"log_WMSE": "no unit", "MR_STFT": "nats, lower is better"}
# Means over tracks, weighted by their lengths, as MIR-1K's literature has them.
GLOBAL = {"GNSDR": "NSDR", "GSIR": "SIR_v3", "GSAR": "SAR_v3"}
GATED = ("uSDR",)  # what `svs gate` compares beside SDR: in dB, without gaps, and sensitive to gain


def present(table: pd.DataFrame) -> list[str]:
    """The figures of rulers in a table of tracks, in their order, without SECONDS."""
    return [column for columns in COLUMNS.values() for column in columns if column in table and column != SECONDS]


def joined(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """A table of one method's tracks, and at the right the figures in its folder (`rulers/**/test/<track>.json`)."""
    import pandas as pd  # not in the core of svs, which scores too

    found: dict[tuple[str, str], dict[str, float | None]] = {}
    for path in sorted((folder / RULERS).glob("**/test/*.json")):
        found |= {(path.stem, target): figures for target, figures in read_json(path).items()}
    if not any(found.values()):
        return table
    figures = pd.DataFrame.from_dict(found, orient="index", dtype=float)
    order = [column for columns in COLUMNS.values() for column in columns if column in figures]
    return table.join(figures[order], on=["track", "target"])


def metrics(rows: pd.DataFrame) -> dict[str, Any]:
    """Means and medians over the tracks of one target, for `dvc metrics diff`; NaN without a figure."""
    found: dict[str, Any] = {
        column: {"mean": round(float(rows[column].mean()), 4), "median": round(float(rows[column].median()), 4)}
        for column in present(rows)
    }
    if SECONDS in rows:
        found |= {name: round(weighted(rows[column], rows[SECONDS]), 4) for name, column in GLOBAL.items()}
    return found


def weighted(values: pd.Series, lengths: pd.Series) -> float:
    """The mean of the values (tracks,) that are finite, weighted by the lengths of their tracks; NaN if none is."""
    here = np.isfinite(values)
    return float(np.average(values[here], weights=lengths[here])) if here.any() else float("nan")
