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
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, linalg

from svs.errors import DataError

TAPS = 512  # of the distortion filters
_REACH = TAPS - 1  # the largest lag
_SIZE = 2048  # of the FFTs; sizes from 1500 to 8192 take the same time for each sample
_BLOCK = _SIZE - _REACH  # samples of the leading signal in one FFT
_BATCH = 32  # blocks transformed at a time
_STEPS = 5  # of refinement, after something was added to the diagonal
_EPS = np.finfo(np.float64).eps


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
    if all(one[1] == two[0] and one[1] - one[0] >= _REACH for one, two in pairwise(parts)):
        kept = [_statistics(references, estimates, *part) for part in parts]
        statistics: Iterable[_Statistics] = kept
        whole = _joined(kept)
        whole = whole._replace(
            products=whole.products + _across(references, estimates, [stop for _, stop in parts[:-1]])
        )
    else:
        whole = _statistics(references, estimates, 0, samples)
        statistics = (_statistics(references, estimates, *frame) for frame in frames)
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


# Correlations


class _Statistics(NamedTuple):
    """Correlations and energies of a part of the audio."""

    products: np.ndarray  # (channels of the references, of references then estimates, TAPS): sum_t x(t) y(t + lag)
    estimate: np.ndarray  # (sources,): energies of the estimates
    error: np.ndarray  # (sources,): energies of estimates minus references
    sounding: np.ndarray  # bool (2, sources): of references and estimates


def _joined(parts: list[_Statistics]) -> _Statistics:
    """Those of adjacent parts together, without the products that reach over the cuts."""
    products, estimate, error, sounding = zip(*parts, strict=True)
    zero = np.zeros(())  # to start from, so that the sum of one part is no view of the larger array that it is cut from
    return _Statistics(sum(products, zero), sum(estimate, zero), sum(error, zero), np.any(sounding, axis=0))


def _statistics(references: np.ndarray, estimates: np.ndarray, start: int, stop: int) -> _Statistics:
    """Those of samples `start` to `stop`, with silence before and after."""
    parts = []
    for first in range(start, max(stop, start + 1), _BATCH * _BLOCK):
        last = min(first + _BATCH * _BLOCK, stop)
        blocks = max(1, -(-(last - first) // _BLOCK))
        audio = _planar(references, estimates, first, min(last + _REACH, stop), blocks * _BLOCK + _REACH)
        reference, estimate = inner = audio[..., : last - first]
        error = estimate - reference
        rows = sliding_window_view(audio.reshape(-1, audio.shape[-1]), _SIZE, axis=1)[:, ::_BLOCK]
        parts.append(
            _Statistics(
                _products(rows[: len(rows) // 2, :, :_BLOCK], rows, _SIZE),
                np.einsum("jct,jct->j", estimate, estimate),
                np.einsum("jct,jct->j", error, error),
                inner.sum(axis=2).any(axis=-1),
            )
        )
    return _joined(parts)


def _planar(references: np.ndarray, estimates: np.ndarray, start: int, stop: int, length: int) -> np.ndarray:
    """Samples `start` to `stop`, then silence: float64 (2, sources, channels, length)."""
    sources, _, channels = references.shape
    audio = np.zeros((2, sources, channels, length))
    audio[0, ..., : stop - start] = references[:, start:stop].swapaxes(1, 2)
    audio[1, ..., : stop - start] = estimates[:, start:stop].swapaxes(1, 2)
    return audio


def _across(references: np.ndarray, estimates: np.ndarray, cuts: list[int]) -> np.ndarray | float:
    """Products whose first factor lies before one of the cuts and whose second lies behind it."""
    total: np.ndarray | float = 0.0
    for index in range(0, len(cuts), _BATCH):
        around = [
            _planar(references, estimates, cut - _REACH, min(cut + _REACH, references.shape[1]), 2 * _REACH)
            for cut in cuts[index : index + _BATCH]
        ]
        rows = np.stack([audio.reshape(-1, 2 * _REACH) for audio in around], axis=1)
        before = rows[: len(rows) // 2, :, :_REACH].copy()
        rows[..., :_REACH] = 0.0
        total = total + _products(before, rows, 2 * TAPS)
    return total


def _products(leading: np.ndarray, following: np.ndarray, size: int) -> np.ndarray:
    """sum over blocks and t of x(t) y(t + lag), for lags 0 to TAPS - 1.

    Parameters
    ----------
    leading, following : (channels, blocks, samples)
        A sample of `following` may precede one of `leading` by at most size - TAPS.

    Returns
    -------
    (channels of leading, channels of following, TAPS)
    """
    one, two = fft.rfft(leading, size), fft.rfft(following, size)
    spectra = one.conj().transpose(2, 0, 1) @ two.transpose(2, 1, 0)
    return fft.irfft(spectra.transpose(1, 2, 0), size)[..., :TAPS]


# Filters


def _filters(whole: _Statistics, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Filters of the projections P1 and P2, fitted to the whole signal.

    Returns
    -------
    own, full : (sources, channels of all references, channels of the estimate, TAPS)
        `own` is zero for the references of other sources.
    """
    inputs = len(whole.products)
    sources = inputs // channels
    gram = np.empty((inputs, TAPS, inputs, TAPS))
    for one in range(inputs):
        for two in range(inputs):
            # <x_one(t - l), x_two(t - m)> depends on l - m alone.
            gram[one, :, two] = linalg.toeplitz(whole.products[one, two], whole.products[two, one])
    right = whole.products[:, inputs:].transpose(0, 2, 1)
    own = np.zeros((sources, inputs, TAPS, channels))
    for source in range(sources):
        mine = slice(source * channels, (source + 1) * channels)
        own[source, mine] = _projection(gram[mine, :, mine], right[mine, :, mine], whole.estimate[source])
    full = _projection(gram, right, whole.estimate.sum()).reshape(inputs, TAPS, sources, channels)
    return own.transpose(0, 1, 3, 2), full.transpose(2, 0, 3, 1)


def _projection(gram: np.ndarray, right: np.ndarray, energy: float) -> np.ndarray:
    """Filters (inputs, TAPS, outputs) that project outputs of that `energy` on delayed inputs (see the module)."""
    shape = right.shape
    right = right.reshape(-1, shape[-1])
    gram = gram.reshape(len(right), len(right)).copy()
    diagonal = gram.reshape(-1)[:: len(gram) + 1]
    diagonal += _EPS  # as in museval: a silent channel gets no filters
    for solve in (_cholesky, np.linalg.solve):
        try:
            solution = solve(gram, right)
        except np.linalg.LinAlgError:
            continue
        # A projection is orthogonal to its residual.  Errors below this limit are in museval's filters too.
        if abs(np.vdot(solution, gram @ solution - right)) <= energy:
            return solution.reshape(shape)
    loaded, added = gram.copy(), len(gram) * _EPS * diagonal.mean()
    while True:
        loaded.reshape(-1)[:: len(gram) + 1] += added
        try:
            factor = linalg.cho_factor(loaded.T, lower=True, check_finite=False)
            break
        except np.linalg.LinAlgError:
            added *= 10
    solution = np.zeros_like(right)
    for _ in range(_STEPS):  # undoes the effect of the addition, except on singular directions
        solution += linalg.cho_solve(factor, right - gram @ solution, check_finite=False)
    return solution.reshape(shape)


def _cholesky(gram: np.ndarray, right: np.ndarray) -> np.ndarray:
    # Transposed: the same symmetric matrix, in the memory order that LAPACK needs no copy for.
    return linalg.cho_solve(linalg.cho_factor(gram.T, lower=True, check_finite=False), right, check_finite=False)


# Energies


class _Forms:
    """Energies of a frame's components, as quadratic forms of its correlations."""

    def __init__(self, own: np.ndarray, full: np.ndarray):
        self.sources, inputs, self.channels, _ = own.shape
        spatial = own.copy()
        for source, channel in np.ndindex(self.sources, self.channels):
            spatial[source, source * self.channels + channel, channel, 0] -= 1.0  # P1 e - s
        self.quadratic = np.stack([_autocorrelation(filters) for filters in (spatial, own, full - own, full)])
        self.full = full

    def scores(self, frame: _Statistics) -> np.ndarray:
        """SDR, ISR, SIR, SAR: (4, sources)."""
        inputs = len(frame.products)
        diagonal = np.arange(inputs)
        true = frame.products[diagonal, diagonal, 0].reshape(self.sources, -1).sum(axis=1)
        spatial, own, interference, full = np.tensordot(self.quadratic, frame.products[:, :inputs], axes=3)
        with_estimates = frame.products[:, inputs:].reshape(inputs, self.sources, self.channels, TAPS)
        artifacts = frame.estimate - 2 * np.einsum("jict,ijct->j", self.full, with_estimates) + full
        limited = [_limited(*pair) for pair in ((true, spatial), (own, interference), (full, artifacts))]
        return np.stack([_decibels(true, frame.error), *limited])


def _autocorrelation(filters: np.ndarray) -> np.ndarray:
    """A of the module's docstring, summed over outputs: (sources, inputs, inputs, TAPS).

    Lags above zero are doubled and stand for those below zero as well: R_ik(-d) = R_ki(d).
    """
    spectra = fft.rfft(filters, 2 * TAPS)
    result = fft.irfft(np.einsum("jicf,jkcf->jikf", spectra, spectra.conj()), 2 * TAPS)[..., :TAPS]
    result[..., 1:] *= 2.0
    return result


def _decibels(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(numerator / denominator)


def _limited(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`_decibels` of energies that rounding may have made zero or negative."""
    numerator = np.maximum(numerator, 0.0)
    return _decibels(numerator, np.maximum(denominator, _EPS * numerator))
