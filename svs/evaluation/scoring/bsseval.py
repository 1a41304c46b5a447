"""BSS Eval version 4: what `museval.evaluate` computes, from short correlations.

What it measures
----------------
Source j has the true image s and the estimate e (all channels).  With delays
of 0 to 511 samples, P1 is the least-squares projection of e on the delayed
channels of s, and P2 that on the delayed channels of all sources, both with
filters fitted once to the whole signal.  The estimate is the sum of

    s_true   = s                what was wanted
    e_spat   = P1 e - s         its spatial (or filtering) distortion
    e_interf = P2 e - P1 e      interference of the other sources
    e_artif  = e - P2 e         artifacts, all the rest

and in each frame, in dB,

    SDR = 10 log10 |s_true|^2 / |e_spat + e_interf + e_artif|^2
    ISR = 10 log10 |s_true|^2 / |e_spat|^2
    SIR = 10 log10 |s_true + e_spat|^2 / |e_interf|^2
    SAR = 10 log10 |s_true + e_spat + e_interf|^2 / |e_artif|^2.

SDR, 10 log10 |s|^2 / |e - s|^2, needs no filters.

Vincent, Gribonval, Fevotte: Performance measurement in blind audio source
separation, IEEE TASLP 14(4), 2006.  Stoter, Liutkus, Ito: The 2018 signal
separation evaluation campaign, LVA/ICA 2018.

Conventions
-----------
They are museval 0.4.1's (`mode="v4"`).  A frame stands alone: the filters see
silence before it, and the 511 samples in which they ring after it count.  An
incomplete last frame is dropped; a signal shorter than `win` is one frame.
A frame is NaN for all sources if the channels of any reference or estimate add
up to silence in it (so a source in antiphase counts as silent too).

How it is computed
------------------
Every energy above is |sum_i f_i * x_i|^2 for known filters f_i of 512 taps and
the channels x_i of the references in a frame, and that is

    sum_ik sum_|d|<512 A_ik(d) R_ik(d),    A_ik(d) = sum_t f_i(t + d) f_k(t),
                                           R_ik(d) = sum_t x_i(t) x_k(t + d):

so nothing is filtered, and a frame's correlations at lags below 512 suffice.
(|e - P2 e|^2 = |e|^2 - 2 <e, P2 e> + |P2 e|^2 needs those with the estimates as
well.)  They are computed by FFTs of short blocks.  The sum over adjacent frames,
with the few products that reach across a cut, gives those of the whole signal,
from which the filters are solved; so all audio is transformed once.  If frames
overlap or leave gaps, nothing is kept, and each frame is transformed by itself.

Where museval fails
-------------------
- A reference or estimate that is silent throughout: museval raises an error;
  here every frame is NaN.
- Singular systems of equations.  museval solves by LU, and after an exact zero
  pivot it uses a name that numpy 2 no longer has.  Here: Cholesky; if rounding
  has made the matrix indefinite (band-limited references), LU as in museval; if
  that fails or is no projection (channels that are copies of each other, for
  example a voice in the centre), Cholesky with a little added to the diagonal,
  refined until the result no longer depends on the amount.
  If the references are singular, SIR and SAR are mostly rounding noise, in
  museval and here: another exact solver moves them by many dB.
- Ratios that only rounding limits: ISR, SIR and SAR end at 156 dB (a ratio of
  2^52); in museval they are finite, around 200 dB.  SDR of an estimate equal to
  its reference is infinite in both.
- Samples that are NaN or infinite raise an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from svs.errors import DataError
from svs.evaluation.projections import (
    REACH,
    TAPS,
    Statistics,
    across,
    autocorrelation,
    decibels,
    gram,
    joined,
    limited,
    measured,
    projection,
)


def evaluate(
    references: np.ndarray, estimates: np.ndarray, win: float = 44100, hop: float = 44100
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """BSS Eval v4 of several sources, as `museval.evaluate(..., padding=False)` computes it.

    Parameters
    ----------
    references, estimates : real (sources, samples, channels), or (sources, samples)
    win, hop : float
        Samples of a frame, and between frames; a `win` of np.inf takes the whole signal.

    Returns
    -------
    SDR, ISR, SIR, SAR : float64 (sources, frames)
        In dB; NaN in silent frames, and everywhere if a reference or an estimate is silent throughout.

    Raises
    ------
    DataError
        The shapes differ, or a sample is not finite.
    """
    references, estimates = np.atleast_3d(references), np.atleast_3d(estimates)
    if references.shape != estimates.shape:
        raise DataError(
            f"references have the shape {references.shape}, estimates {estimates.shape}; "
            "separate and score the same track"
        )
    sources, samples, channels = references.shape
    frames = _frames(samples, win, hop)
    parts = [*frames, (frames[-1][1], samples)] if frames[-1][1] < samples else frames
    if all(one[1] == two[0] and one[1] - one[0] >= REACH for one, two in pairwise(parts)):
        kept = [measured(references, estimates, *part) for part in parts]
        statistics: Iterable[Statistics] = kept
        whole = joined(kept)
        whole = whole._replace(
            products=whole.products + across(references, estimates, [stop for _, stop in parts[:-1]])
        )
    else:
        whole = measured(references, estimates, 0, samples)
        statistics = (measured(references, estimates, *frame) for frame in frames)
    if not np.isfinite(whole.products).all():
        raise DataError("references or estimates hold a sample that is not finite; repair the audio")
    scores = np.full((4, sources, len(frames)), np.nan)
    if whole.sounding.all():
        forms = _Forms(*_filters(whole, channels))
        for index, (frame, _) in enumerate(zip(statistics, frames, strict=False)):
            if frame.sounding.all():
                scores[..., index] = forms.scores(frame)
    sdr, isr, sir, sar = scores
    return sdr, isr, sir, sar


def _frames(samples: int, win: float, hop: float) -> list[tuple[int, int]]:
    """First and last sample (exclusive) of every frame, as museval counts them."""
    if win >= samples:
        return [(0, samples)]
    count = int(np.floor((samples - win + hop) / hop))
    return [(int(index * hop), min(int(index * hop + win), samples)) for index in range(count)]


# Filters


def _filters(whole: Statistics, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Filters of the projections P1 and P2, fitted to the whole signal.

    Returns
    -------
    own, full : (sources, channels of all references, channels of the estimate, TAPS)
        `own` is zero for the references of other sources.
    """
    inputs = len(whole.products)
    sources = inputs // channels
    delayed = gram(whole.products)
    right = whole.products[:, inputs:].transpose(0, 2, 1)
    own = np.zeros((sources, inputs, TAPS, channels))
    for source in range(sources):
        mine = slice(source * channels, (source + 1) * channels)
        own[source, mine] = projection(delayed[mine, :, mine], right[mine, :, mine], whole.estimate[source])
    full = projection(delayed, right, whole.estimate.sum()).reshape(inputs, TAPS, sources, channels)
    return own.transpose(0, 1, 3, 2), full.transpose(2, 0, 3, 1)


# Energies


class _Forms:
    """Energies of a frame's components, as quadratic forms of its correlations."""

    def __init__(self, own: np.ndarray, full: np.ndarray):
        self.sources, inputs, self.channels, _ = own.shape
        spatial = own.copy()
        for source, channel in np.ndindex(self.sources, self.channels):
            spatial[source, source * self.channels + channel, channel, 0] -= 1.0  # P1 e - s
        self.quadratic = np.stack([autocorrelation(filters) for filters in (spatial, own, full - own, full)])
        self.full = full

    def scores(self, frame: Statistics) -> np.ndarray:
        """SDR, ISR, SIR, SAR: (4, sources)."""
        inputs = len(frame.products)
        diagonal = np.arange(inputs)
        true = frame.products[diagonal, diagonal, 0].reshape(self.sources, -1).sum(axis=1)
        spatial, own, interference, full = np.tensordot(self.quadratic, frame.products[:, :inputs], axes=3)
        with_estimates = frame.products[:, inputs:].reshape(inputs, self.sources, self.channels, TAPS)
        artifacts = frame.estimate - 2 * np.einsum("jict,ijct->j", self.full, with_estimates) + full
        ratios = [limited(*pair) for pair in ((true, spatial), (own, interference), (full, artifacts))]
        return np.stack([decibels(true, frame.error), *ratios])
