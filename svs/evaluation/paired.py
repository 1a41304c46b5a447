"""Two methods on the same tracks: the median of their differences, and how sure it is.

With 50 tracks the 95 % interval of a median SDR is about 1 dB either way, most
of it the tracks' own spread; the differences between two methods on the same
track spread far less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from svs.evaluation.museval_json import BSSEVAL, read_scores
from svs.runtime import unavailable
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
        On which both have a score.
    difference : float
        Median over tracks of the paired differences; NaN without tracks.
    low, high : float
        The bootstrap interval of that median; NaN with fewer than two tracks.
    wins, ties, losses : int
        Tracks that are better, within `TIE`, and worse.
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
    fewer than six tracks the interval excludes zero only when all differences
    that count have one sign, so it says little more than they do.

    Parameters
    ----------
    differences : float (tracks,)
        dB, ours less theirs; a track that one of the two has no score for is
        NaN and left out.
    seed : int
        Of the draws.

    Returns
    -------
    Paired
    """
    values = np.asarray(differences, dtype=np.float64)
    values = values[np.isfinite(values)]
    low = high = float("nan")
    if len(values) > 1:
        if np.ptp(values) == 0:
            low = high = float(values[0])  # nothing varies: no resample differs from another
        else:
            from scipy.stats import bootstrap

            interval = bootstrap(
                (values,),
                np.median,
                method="percentile",
                confidence_level=CONFIDENCE,
                n_resamples=RESAMPLES,
                rng=np.random.default_rng(seed),
            ).confidence_interval
            low, high = float(interval.low), float(interval.high)
    return Paired(
        len(values),
        float(np.median(values)) if len(values) else float("nan"),
        low,
        high,
        int((values > TIE).sum()),
        int((np.abs(values) <= TIE).sum()),
        int((values < -TIE).sum()),
    )


def against_published(
    ours: Path, methods: Sequence[str], theirs: Path, names: Sequence[str], seed: int
) -> pd.DataFrame:
    """SDR of each method of ours against each published system, paired by track.

    A track's difference is the median over frames of ours less that of theirs,
    both over the frames that are finite in both: a second in which any scored
    source is silent is NaN for all of them, and which were scored differs from
    submission to submission.

    Parameters
    ----------
    ours, theirs : Path
        `<method>/bsseval/test/<track>.json` below them, of the same seconds.
    methods, names : sequence of str
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns method, system, target, tracks, difference (dB, median over
        tracks; positive where ours is better), low and high (its 95 % interval),
        wins, ties and losses (tracks).  Systems that did not score a target have no row.
    """
    rows = []
    scores = {
        name: _sdr(folder / name)
        for folder, chosen in ((ours, methods), (theirs, names))
        for name in chosen
        if not unavailable.reason(folder / name)
    }
    for method in methods:
        if method not in scores:
            continue
        for system in names:
            for target in TARGETS:
                differences = [
                    _difference(frames[target], scores[method][track][target])
                    for track, frames in scores[system].items()
                    if track in scores[method] and target in frames
                ]
                found = median_difference(np.array(differences), seed)
                if found.tracks:
                    rows.append(
                        (
                            method,
                            system,
                            target,
                            found.tracks,
                            found.difference,
                            found.low,
                            found.high,
                            found.wins,
                            found.ties,
                            found.losses,
                        )
                    )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sdr(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {
        path.stem: {target: measures["SDR"] for target, measures in read_scores(path).items()}
        for path in sorted((folder / BSSEVAL / "test").glob("*.json"))
    }


def _difference(theirs: np.ndarray, ours: np.ndarray) -> float:
    length = min(len(theirs), len(ours))  # a re-encoded track may have a frame more
    theirs, ours = theirs[:length], ours[:length]
    both = np.isfinite(theirs) & np.isfinite(ours)
    return float(np.median(ours[both]) - np.median(theirs[both])) if both.any() else float("nan")


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
        dB, positive where ours is better; a star where the interval excludes zero.
    """
    rows = comparison[(comparison["target"] == target) & comparison["system"].isin(list(names))]
    methods = list(dict.fromkeys(rows["method"]))
    found = {(row.method, row.system): row for row in rows.itertuples()}
    lines = ["system  " + "".join(f"{method:>20}" for method in methods)]
    for system in names:
        cells = []
        for method in methods:
            row = found.get((method, system))
            sure = row is not None and (row.low > 0 or row.high < 0)
            cells.append("-" if row is None else f"{row.difference:+.2f}{'*' if sure else ' '}")
        lines.append(f"{system:<8}" + "".join(f"{cell:>20}" for cell in cells))
    return "\n".join(lines)


def standing(ours: pd.DataFrame, published: pd.DataFrame, comparison: pd.DataFrame, method: str) -> str:
    """All methods and all published systems in one ranking, as text, and how one method compares with each system.

    Parameters
    ----------
    ours, published : DataFrame
        `svs.evaluation.tables.gather` and `svs.evaluation.tables.published_table`: tracks' scores on the same seconds.
    comparison : DataFrame
        `against_published`.
    method : str
        Of ours.

    Returns
    -------
    str
        Medians over tracks in dB, best vocals first, a system without vocals last; then for vocals and accompaniment
        the median of the paired differences of `method` less the system, with its interval.
    """
    both = pd.concat([ours, published], ignore_index=True)
    medians = both.pivot_table(index="method", columns="target", values="SDR", aggfunc="median")
    medians = medians.reindex(columns=list(TARGETS)).sort_values("vocals", ascending=False)
    found = {(row.system, row.target): row for row in comparison[comparison["method"] == method].itertuples()}
    lines = [f"{'':<26}{'vocals':>8}{'accomp.':>9}   {method + ' less that: vocals':<40}accompaniment"]
    for name, row in medians.iterrows():
        cells = [f"{row[target]:.2f}" if np.isfinite(row[target]) else "-" for target in TARGETS]
        differences = [
            ""
            if (each := found.get((name, target))) is None
            else f"{each.difference:+.2f} [{each.low:+.2f}, {each.high:+.2f}]"
            for target in TARGETS
        ]
        lines.append(f"{name:<26}{cells[0]:>8}{cells[1]:>9}   {differences[0]:<40}{differences[1]}".rstrip())
    return "\n".join(lines)
