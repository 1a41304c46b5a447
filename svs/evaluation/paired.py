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
from svs.evaluation.tables import frame_scores, medians, present, text_table
from svs.stems import TARGETS

TIE = 0.01  # dB: the resolution of published tables
CONFIDENCE = 0.95
RESAMPLES = 9999
COLUMNS = ("method", "system", "target", "tracks", "difference", "low", "high", "wins", "ties", "losses")


@dataclass(frozen=True)
class Paired:
    """How one method compares with another, in dB; positive is better.

    Attributes
    ----------
    tracks : int
        Number of tracks on which both have a score.
    difference : float
        Median over tracks of the paired differences; NaN without tracks.
    low, high : float
        The bootstrap interval of that median; NaN with fewer than two tracks.
    wins, ties, losses : int
        Number of tracks that are better, within `TIE`, and worse.
    """

    tracks: int
    difference: float
    low: float
    high: float
    wins: int
    ties: int
    losses: int


def median_difference(differences: np.ndarray, seed: int) -> Paired:
    """The median of paired differences with its 95 % percentile bootstrap interval.

    Tracks are drawn with replacement (Efron & Tibshirani 1993, ch. 13).  With
    fewer than six tracks the interval excludes zero only if all differences have
    the same sign.

    Parameters
    ----------
    differences : float (tracks,)
        dB, ours less theirs.  NaN (one of the two has no score) is left out.
    seed : int
        Of the random draws.

    Returns
    -------
    Paired
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    low = high = float("nan")
    if len(values) > 1 and np.ptp(values) == 0:
        low = high = float(values[0])  # no resample differs from another
    elif len(values) > 1:
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
        float(np.median(values)) if len(values) else float("nan"),
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
        Columns method, system, target, tracks, difference (dB, median over
        tracks; positive if ours is better), low and high (its 95 % interval),
        wins, ties and losses (tracks).  A system without a target has no row for it.
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
    return pd.DataFrame(rows, columns=list(COLUMNS))


def outcome(comparison: pd.DataFrame, names: Sequence[str], target: str) -> str:
    """Median differences as text: a line for each published system, a column for each method of ours.

    Parameters
    ----------
    comparison : DataFrame
        `against_published`.
    names : sequence of str
        The systems to show.
    target : str

    Returns
    -------
    str
        dB, positive if ours is better; a star if the interval excludes zero.
    """
    rows = comparison[comparison["target"] == target]
    sure = (rows["low"] > 0) | (rows["high"] < 0)
    cells = rows["difference"].map("{:+.2f}".format) + sure.map({True: "*", False: " "})
    table = cells.groupby([rows["system"], rows["method"]], sort=False).first().unstack(sort=False)
    return text_table(table.reindex(list(names)))


def standing(ours: pd.DataFrame, published: pd.DataFrame, comparison: pd.DataFrame, method: str) -> str:
    """A ranking of all methods and all published systems as text, and how one method compares with each system.

    Parameters
    ----------
    ours, published : DataFrame
        `svs.evaluation.tables.gather` and `svs.evaluation.tables.published_table`, on the same seconds.
    comparison : DataFrame
        `against_published`.
    method : str
        One of ours.

    Returns
    -------
    str
        Medians over tracks in dB, best vocals first, systems without vocals last; then, for vocals and accompaniment,
        the median of the paired differences `method` less system, with its interval.
    """
    table = medians(pd.concat([ours, published], ignore_index=True))
    rows = comparison[comparison["method"] == method].set_index("system")
    rows["text"] = [f"{row.difference:+.2f} {interval(row.low, row.high)}" for row in rows.itertuples()]
    for target in TARGETS:
        text = rows.loc[rows["target"] == target, "text"]
        table[f"{method} less that: {target}"] = text.reindex(table.index, fill_value="")
    return text_table(table)
