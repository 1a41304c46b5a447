"""BSS Eval version 3 (`mir_eval.separation.bss_eval_sources`), and with it NSDR, the measure of MIR-1K's literature.

A source is mono.  P1 is the least-squares projection of an estimate e on the source s, and P2 that on all sources, with
delays of 0 to 511 samples.  Both filters are fitted to the passage that is scored, so a filtered source is no error:

    SDR = 10 log10 |P1 e|^2 / |e - P1 e|^2
    SIR = 10 log10 |P1 e|^2 / |P2 e - P1 e|^2
    SAR = 10 log10 |P2 e|^2 / |e - P2 e|^2.

NSDR is the SDR of an estimate less that of the mixture (the sum of the sources) as an estimate of the same source.  The
means of NSDR, SIR and SAR over clips, weighted by their lengths, are GNSDR, GSIR and GSAR.

Everything is computed from short correlations: `svs.evaluation.scoring.bsseval` says how, and what happens if the
sources are linearly dependent.  Ratios end at 156 dB.  mir_eval refuses a source that is silent throughout, which is
NaN here.

Vincent, Gribonval, Fevotte: Performance measurement in blind audio source separation, IEEE TASLP 14(4), 2006.
Hsu, Jang: On the improvement of singing voice separation for monaural recordings using the MIR-1K dataset, IEEE TASLP
18(2), 2010.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from svs.errors import DataError
from svs.evaluation.projections import TAPS, Statistics, autocorrelation, gram, limited, measured, projection


class Scores(NamedTuple):
    """In dB, float64 (sources, frames); NaN in frames in which a reference or an estimate is silent."""

    sdr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    nsdr: np.ndarray


def evaluate(references: np.ndarray, estimates: np.ndarray, win: float = np.inf, hop: float = np.inf) -> Scores:
    """BSS Eval v3 of several mono sources, each estimate against the source of its place.

    Parameters
    ----------
    references, estimates : real (sources, samples)
    win, hop : float
        Samples of a frame, and between frames.  Signals that do not hold two frames are one frame.

    Raises
    ------
    DataError
        The shapes differ, or a sample is not finite.
    """
    if references.shape != estimates.shape or references.ndim != 2:
        raise DataError(
            f"expected references and estimates of one shape (sources, samples), got {references.shape} and "
            f"{estimates.shape}; separate and score the same track, in mono"
        )
    sources, samples = references.shape
    frames = _frames(samples, win, hop)
    scores = np.full((4, sources, len(frames)), np.nan)
    for index, frame in enumerate(frames):
        found = measured(references[..., None], estimates[..., None], *frame)
        if not np.isfinite(found.products).all():
            raise DataError("references or estimates hold a sample that is not finite; repair the audio")
        if found.sounding.all():
            scores[..., index] = _scores(found)
    return Scores(*scores)


def _frames(samples: int, win: float, hop: float) -> list[tuple[int, int]]:
    """First and last sample (exclusive) of every frame, as mir_eval counts them."""
    count = 1 if win >= samples else int((samples - win + hop) // hop)
    return [(int(index * hop), int(index * hop + win)) for index in range(count)] if count > 1 else [(0, samples)]


def _scores(found: Statistics) -> np.ndarray:
    """SDR, SIR, SAR, NSDR: (4, sources)."""
    sources = len(found.products)
    among, heard = found.products[:, :sources], found.products[:, sources:]
    # The estimates, and after them the mixture, whose correlations are sums of those of the sources.
    outputs = np.concatenate([heard, among.sum(axis=1, keepdims=True)], axis=1)
    energies = np.append(found.estimate, among[..., 0].sum())
    delayed = gram(found.products)
    full = projection(delayed, heard.transpose(0, 2, 1), found.estimate.sum()).transpose(2, 0, 1)
    own = np.zeros((2, sources, sources, TAPS))  # of the estimates, of the mixture
    for source in range(sources):
        mine = slice(source, source + 1)
        wanted = [source, sources]
        fitted = projection(delayed[mine, :, mine], outputs[source, wanted].T[None], energies[wanted].sum())
        own[:, source, source] = fitted[0].T
    mixture = np.repeat(outputs[:, sources:], sources, axis=1)
    target, rest = _energies(own[0], among, heard, found.estimate)
    before = _energies(own[1], among, mixture, energies[sources])
    sdr, sir = limited(target, rest), limited(target, _filtered(full - own[0], among))
    sar = limited(*_energies(full, among, heard, found.estimate))
    return np.stack([sdr, sir, sar, sdr - limited(*before)])


def _energies(
    filters: np.ndarray, among: np.ndarray, heard: np.ndarray, energy: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (outputs,) of what filters (outputs, sources, TAPS) make of the sources, and of an output less that."""
    made = _filtered(filters, among)
    return made, energy - 2 * np.einsum("jit,ijt->j", filters, heard) + made


def _filtered(filters: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Energies of the sources through filters: (outputs,)."""
    return np.tensordot(autocorrelation(filters[:, :, None]), among, axes=3)
