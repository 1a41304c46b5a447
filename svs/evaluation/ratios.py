"""Signal-to-distortion ratios of a whole song without filters: uSDR and SI-SDR.

The energies are summed over all samples and channels.
"""

from __future__ import annotations

import numpy as np

from svs.evaluation.projections import limited

_DELTA = 1e-7  # of the challenge's own code: keeps the ratio of silence finite


def usdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """uSDR in dB: the SDR of the Music Demixing Challenge (Mitsufuji et al., Frontiers in Signal Processing, 2022).

    Parameters
    ----------
    reference, estimate : float (samples, channels)

    Returns
    -------
    float
        Defined where the reference, the estimate or both are silent.
    """
    reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
    signal, error = np.square(reference).sum(), np.square(reference - estimate).sum()
    return float(10 * np.log10((signal + _DELTA) / (error + _DELTA)))


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant SDR in dB (Le Roux et al., ICASSP 2019), with one gain for all channels.

    Parameters
    ----------
    reference, estimate : float (samples, channels), or (samples,)

    Returns
    -------
    float
        At most 156 dB; NaN where the reference or the estimate is silent.
    """
    reference, estimate = (audio.astype(np.float64).ravel() for audio in (reference, estimate))
    if not (reference.any() and estimate.any()):
        return float("nan")
    target = (reference @ estimate) / (reference @ reference) * reference
    return float(limited(target @ target, np.square(estimate - target).sum()))
