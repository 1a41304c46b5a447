"""Two methods on the same tracks: the median of their differences, and how sure it is.

With 50 tracks the 95 % interval of a median SDR is about 1 dB either way, most
of it the tracks' own spread; the differences between two methods on the same
track spread far less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TIE = 0.01             # dB: the resolution of published tables
CONFIDENCE = 0.95
RESAMPLES = 9999


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
            low = high = float(values[0])       # nothing varies: no resample differs from another
        else:
            from scipy.stats import bootstrap

            interval = bootstrap((values,), np.median, method="percentile", confidence_level=CONFIDENCE,
                                 n_resamples=RESAMPLES, rng=np.random.default_rng(seed)).confidence_interval
            low, high = float(interval.low), float(interval.high)
    return Paired(len(values), float(np.median(values)) if len(values) else float("nan"), low, high,
                  int((values > TIE).sum()), int((np.abs(values) <= TIE).sum()), int((values < -TIE).sum()))
