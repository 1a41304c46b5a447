"""The table of a run as a thesis prints it: methods in rows, their scores, sizes and training data in columns."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from svs.config import paths
from svs.config.project import find_model
from svs.config.schema import Settings
from svs.evaluation import rulers
from svs.evaluation.paired import median_difference
from svs.evaluation.tables import DATASET
from svs.networks import CARD
from svs.runtime.files import read_json
from svs.separators import Kind, find_method, methods
from svs.stems import TARGETS

_MEANS = ("uSDR", "SI_SDR")  # figures of rulers whose mean over tracks is shown
_UNTRAINED = {Kind.CLASSICAL: "no training", Kind.ORACLE: "the true stems", Kind.FLOOR: "no training"}
_MISSING = "–"
_MEASURED = ("x real time", "MB")  # on one machine
_FORMS = {"parameters": "{:.2f} M", "x real time": "{:.1f}", "MB": "{:.0f}"}  # of columns; decibels have two decimals
_PACKAGED = Path("svs/models")  # networks that come with svs


class Card(NamedTuple):
    """What a method is made of."""

    parameters: int | None = None
    trained_on: str = ""


def cards(settings: Settings, home: Path = Path()) -> dict[str, Card]:
    """Every method of a project: networks trained there from `metrics/training`, others from their card or registry."""
    found = {}
    for name, wiring in settings.methods.items():
        if name in settings.models:
            found[name] = _trained(read_json(home / paths.METRICS / "training" / f"{name}.json"))
        elif wiring.needs.parent == _PACKAGED:
            card = read_json(find_model(home, wiring.needs) / CARD)
            found[name] = Card(card["parameters"], re.sub(r" \([^)]*\)", "", card.get("trained_on", "")))
        elif name in methods():
            method = find_method(name)
            found[name] = Card(method.parameters, method.trained_on or _UNTRAINED.get(method.kind, ""))
    return found


def _trained(results: Mapping[str, Any]) -> Card:
    """A network of this pipeline, by the results of its training; those of older versions say neither size nor data."""
    what = ""
    if excerpts := results.get("excerpts"):
        what = f"{excerpts['train']} excerpts, here"
    elif songs := results.get("songs"):
        what = f"{sum(songs.values())} songs, here"
    return Card(results.get("parameters"), what)


def table(scores: pd.DataFrame, about: Mapping[str, Card], seed: int) -> pd.DataFrame:
    """One row for each method (and data set), best vocals first.

    Parameters
    ----------
    scores : DataFrame
        `svs.evaluation.tables.gather` by protocol `bsseval`.
    about : mapping of method to `Card`
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns method, dataset (if the scores have it); for each target the median of SDR over tracks, the mean, and
        the 95 % interval of the median (dB), and the means of rulers; parameters, trained on.  Numbers are float64, NaN
        where there is none, intervals are text.
    """
    keys = [key for key in ("method", DATASET) if key in scores]
    rows = []
    for names, of_method in scores.groupby(keys, sort=False):
        row: dict[str, Any] = dict(zip(keys, names, strict=True))
        for target in TARGETS:
            those = of_method[of_method["target"] == target]
            found = median_difference(those["SDR"].to_numpy(), seed)  # from 0
            row[f"{target} SDR"], row[f"{target} mean"] = found.difference, float(those["SDR"].mean())
            row[f"{target} 95 %"] = f"{found.low:.2f} to {found.high:.2f}" if np.isfinite(found.low) else _MISSING
            for column in _MEANS:
                if column in rulers.present(those):
                    row[f"{target} {column.replace('_', '-')}"] = float(those[column].mean())
        card = about.get(row["method"], Card())
        row |= {"parameters": float(card.parameters or "nan"), "trained on": card.trained_on or _MISSING}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("vocals SDR", ascending=False, ignore_index=True)


def with_costs(found: pd.DataFrame, costs: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The table with what was measured on one machine: by method its speed (times real time) and its memory (MB)."""
    measured = np.array([costs.get(method, (np.nan, np.nan)) for method in found["method"]], dtype=float)
    shown = found.copy()
    for place, (name, column) in enumerate(zip(_MEASURED, measured.T, strict=True), list(found).index("trained on")):
        shown.insert(place, name, column)
    return shown


CAPTION = (
    "SDR in dB (BSS Eval v4): the median over tracks of the medians over frames, the mean over tracks, and the "
    "bootstrap interval of the median. uSDR and SI-SDR in dB: means over tracks."
)


def as_markdown(found: pd.DataFrame) -> str:
    """The table in Markdown, with its caption."""
    aligned = ["right" if _is_number(found[column]) else "left" for column in found]
    return f"{CAPTION}\n\n{_printed(found).to_markdown(index=False, disable_numparse=True, colalign=aligned)}\n"


def as_latex(found: pd.DataFrame) -> str:
    r"""The table in LaTeX, with its caption; it needs `\usepackage{booktabs}`."""
    aligned = "".join("r" if _is_number(found[column]) else "l" for column in found)
    looks = {"index": False, "escape": True, "column_format": aligned}
    return _printed(found).to_latex(**looks, caption=CAPTION, label="tab:scores", position="ht")


def as_text(found: pd.DataFrame) -> str:
    """The table for a terminal."""
    return _printed(found).to_string(index=False)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _printed(found: pd.DataFrame) -> pd.DataFrame:
    """Every cell as text: decibels with two decimals, parameters in millions."""
    shown = found.assign(parameters=found["parameters"] / 1e6)
    for column in found:
        if _is_number(found[column]):
            form = _FORMS.get(column, "{:.2f}")
            shown[column] = [_MISSING if value != value else form.format(value) for value in shown[column]]
    return shown
