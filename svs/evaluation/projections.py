"""Correlations of references and estimates, and projections by filters of 512 taps: what versions of BSS Eval share.

`svs.evaluation.scoring.bsseval` says why short correlations suffice, and how singular systems of equations are solved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, linalg

TAPS = 512  # of the distortion filters
REACH = TAPS - 1  # the largest lag
_SIZE = 2048  # of the FFTs; sizes from 1500 to 8192 take the same time for each sample
_BLOCK = _SIZE - REACH  # samples of the leading signal in one FFT
_BATCH = 32  # blocks transformed at a time
_STEPS = 5  # of refinement, after something was added to the diagonal
_EPS = np.finfo(np.float64).eps


# Correlations


class Statistics(NamedTuple):
    """Correlations and energies of a part of the audio."""

    products: np.ndarray  # (channels of the references, of references then estimates, TAPS): sum_t x(t) y(t + lag)
    estimate: np.ndarray  # (sources,): energies of the estimates
    error: np.ndarray  # (sources,): energies of estimates minus references
    sounding: np.ndarray  # bool (2, sources): of references and estimates


def joined(parts: list[Statistics]) -> Statistics:
    """Statistics of adjacent parts together, without the products that reach over the cuts."""
    products, estimate, error, sounding = zip(*parts, strict=True)
    zero = np.zeros(())  # to start from, so that the sum of one part is no view of the larger array that it is cut from
    return Statistics(sum(products, zero), sum(estimate, zero), sum(error, zero), np.any(sounding, axis=0))


def measured(references: np.ndarray, estimates: np.ndarray, start: int, stop: int) -> Statistics:
    """Statistics of samples `start` to `stop` of audio (sources, samples, channels), with silence before and after."""
    parts = []
    for first in range(start, max(stop, start + 1), _BATCH * _BLOCK):
        last = min(first + _BATCH * _BLOCK, stop)
        blocks = max(1, -(-(last - first) // _BLOCK))
        audio = _planar(references, estimates, first, min(last + REACH, stop), blocks * _BLOCK + REACH)
        reference, estimate = inner = audio[..., : last - first]
        error = estimate - reference
        rows = sliding_window_view(audio.reshape(-1, audio.shape[-1]), _SIZE, axis=1)[:, ::_BLOCK]
        parts.append(
            Statistics(
                _products(rows[: len(rows) // 2, :, :_BLOCK], rows, _SIZE),
                np.einsum("jct,jct->j", estimate, estimate),
                np.einsum("jct,jct->j", error, error),
                inner.sum(axis=2).any(axis=-1),
            )
        )
    return joined(parts)


def _planar(references: np.ndarray, estimates: np.ndarray, start: int, stop: int, length: int) -> np.ndarray:
    """Samples `start` to `stop`, then silence: float64 (2, sources, channels, length)."""
    sources, _, channels = references.shape
    audio = np.zeros((2, sources, channels, length))
    audio[0, ..., : stop - start] = references[:, start:stop].swapaxes(1, 2)
    audio[1, ..., : stop - start] = estimates[:, start:stop].swapaxes(1, 2)
    return audio


def across(references: np.ndarray, estimates: np.ndarray, cuts: list[int]) -> np.ndarray | float:
    """Products whose first factor lies before one of the cuts and whose second lies behind it."""
    total: np.ndarray | float = 0.0
    for index in range(0, len(cuts), _BATCH):
        around = [
            _planar(references, estimates, cut - REACH, min(cut + REACH, references.shape[1]), 2 * REACH)
            for cut in cuts[index : index + _BATCH]
        ]
        rows = np.stack([audio.reshape(-1, 2 * REACH) for audio in around], axis=1)
        before = rows[: len(rows) // 2, :, :REACH].copy()
        rows[..., :REACH] = 0.0
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


def gram(products: np.ndarray) -> np.ndarray:
    """Inner products of the delayed channels of the references: (inputs, TAPS, inputs, TAPS)."""
    inputs = len(products)
    found = np.empty((inputs, TAPS, inputs, TAPS))
    for one, two in np.ndindex(inputs, inputs):
        # <x_one(t - l), x_two(t - m)> depends on l - m alone.
        found[one, :, two] = linalg.toeplitz(products[one, two], products[two, one])
    return found


def projection(gram: np.ndarray, right: np.ndarray, energy: float) -> np.ndarray:
    """Filters (inputs, TAPS, outputs) that project outputs of that `energy` on delayed inputs.

    `gram` is that of the inputs, `right` (inputs, TAPS, outputs) the inner products with the outputs.
    """
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


def autocorrelation(filters: np.ndarray) -> np.ndarray:
    """A of the docstring of `svs.evaluation.scoring.bsseval`, summed over outputs: (sources, inputs, inputs, TAPS).

    Lags above zero are doubled and stand for those below zero as well: R_ik(-d) = R_ki(d).
    """
    spectra = fft.rfft(filters, 2 * TAPS)
    result = fft.irfft(np.einsum("jicf,jkcf->jikf", spectra, spectra.conj()), 2 * TAPS)[..., :TAPS]
    result[..., 1:] *= 2.0
    return result


def decibels(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """A ratio of energies in dB; infinite or NaN where one of them is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(numerator / denominator)


def limited(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`decibels` of energies that rounding may have made zero or negative, at most 156 dB (a ratio of 2^52)."""
    numerator = np.maximum(numerator, 0.0)
    return decibels(numerator, np.maximum(denominator, _EPS * numerator))
