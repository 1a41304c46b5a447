"""Two methods on the same tracks: the median of their differences, and its confidence interval.

With 50 tracks the 95 % interval of a median SDR is about 1 dB to either side,
mostly because tracks differ.  The differences between two methods on the same
tracks spread much less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from svs.evaluation.museval_json import BSSEVAL
from svs.evaluation.tables import PAIRED_COLUMNS, frame_scores, medians, present, text_table
from svs.stems import TARGETS

TIE = 0.01  # dB: the resolution of published tables
CONFIDENCE = 0.95
RESAMPLES = 9999


@dataclass(frozen=True)
class Paired:
    """How one method compares with another, in dB; positive is better."""

    tracks: int  # on which both have a score
    difference: float  # median over tracks of the paired differences; NaN without tracks
    low: float  # the bootstrap interval of that median; NaN with fewer than two tracks
    high: float
    wins: int  # tracks that are better, within `TIE`, and worse
    ties: int
    losses: int


def median_difference(differences: np.ndarray, seed: int) -> Paired:
    """The median of paired differences (dB, ours less theirs) with its 95 % percentile bootstrap interval.

    Tracks are drawn with replacement by `seed` (Efron & Tibshirani 1993, ch. 13).
    With fewer than six tracks the interval excludes zero only if all differences
    have the same sign.  NaN (one of the two has no score) is left out.
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    low = high = float("nan")
    if len(values) > 1:
        from scipy.stats import bootstrap

        low, high = bootstrap(
            (values,),
            np.median,
            method="percentile",
            confidence_level=CONFIDENCE,
            n_resamples=RESAMPLES,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Paired(
        len(values),
        float(pd.Series(values).median()),
        float(low),
        float(high),
        int((values > TIE).sum()),
        int((np.abs(values) <= TIE).sum()),
        int((values < -TIE).sum()),
    )


def interval(low: float, high: float) -> str:
    """A confidence interval as text."""
    return f"[{low:+.2f}, {high:+.2f}]" if np.isfinite(low) else "[no interval]"


def against_published(
    ours: Path, methods: Sequence[str], theirs: Path, names: Sequence[str], seed: int
) -> pd.DataFrame:
    """SDR of each method of ours against each published system, paired by track.

    The difference of a track is the median over frames of ours less that of
    theirs, both over the frames that are finite in both.  (If a scored source is
    silent in a second, that second is NaN for all sources; submissions differ in
    the sources that they scored.)

    Parameters
    ----------
    ours, theirs : Path
        Contain `<method>/bsseval/test/<track>.json`, of the same seconds.
    methods, names : sequence of str
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        `PAIRED_COLUMNS`: method, system, target, and `Paired`.  A system without a target has no row for it.
    """
    theirs_sdr = {name: frame_scores(theirs / name, BSSEVAL)["SDR"] for name in present(theirs, names)}
    rows = []
    for method in present(ours, methods):
        sdr = frame_scores(ours / method, BSSEVAL)["SDR"]
        for system, published in theirs_sdr.items():
            frames = pd.concat([published, sdr], axis=1, join="inner", keys=["theirs", "ours"]).dropna()
            tracks = frames.groupby(["target", "track"], sort=False).median()
            differences = tracks["ours"] - tracks["theirs"]
            for target in TARGETS:
                if target in differences:
                    found = median_difference(differences[target].to_numpy(), seed)
                    rows.append({"method": method, "system": system, "target": target, **asdict(found)})
    return pd.DataFrame(rows, columns=list(PAIRED_COLUMNS))


def standing(ours: pd.DataFrame, published: pd.DataFrame, comparison: pd.DataFrame, methods: Sequence[str]) -> str:
    """A ranking of all methods and published systems as text, and how the best of `methods` compares with each system.

    Parameters
    ----------
    ours, published : DataFrame
        `svs.evaluation.tables.gather` and `svs.evaluation.tables.published_table`, on the same seconds.
    comparison : DataFrame
        `against_published`.
    methods : sequence of str
        Some of ours.

    Returns
    -------
    str
        Medians over tracks in dB, best vocals first, systems without vocals last; then, for each target, the median of
        the paired differences of the best method less system, with its interval.
    """
    table = medians(pd.concat([ours, published], ignore_index=True))
    best = next(name for name in table.index if name in methods)
    rows = comparison[comparison["method"] == best].set_index("system")
    rows["text"] = [f"{row.difference:+.2f} {interval(row.low, row.high)}" for row in rows.itertuples()]
    for target in TARGETS:
        text = rows.loc[rows["target"] == target, "text"]
        table[f"{best} less that: {target}"] = text.reindex(table.index, fill_value="")
    return text_table(table)
