"""Time-frequency masks.

A mask is a real array in [0, 1] with the shape of a spectrogram: the share of
the vocals in each bin.  The accompaniment has the complement.
"""

from __future__ import annotations

import numpy as np


def ideal_binary_mask(vocals: np.ndarray, accompaniment: np.ndarray) -> np.ndarray:
    """1 where the vocals are louder than the accompaniment (local criterion 0 dB), else 0.

    Parameters
    ----------
    vocals, accompaniment : complex or real, same shape
        Spectrograms (or magnitudes).

    Returns
    -------
    bool, same shape

    Notes
    -----
    Lin et al. 2018, section 2.1: |V| > |A|.  The mask is 0 where both are silent.
    """
    return np.abs(vocals) > np.abs(accompaniment)


def ideal_ratio_mask(vocals: np.ndarray, accompaniment: np.ndarray, power: float = 1.0) -> np.ndarray:
    """The vocals' share of the sum of both, |V|^p / (|V|^p + |A|^p).

    Parameters
    ----------
    vocals, accompaniment : complex or real, same shape
        Spectrograms (or magnitudes).
    power : float
        1: ratio of magnitudes (SiSEC18's IRM1).  2: ratio of energies (IRM2).

    Returns
    -------
    float32, same shape
        0 where both are silent.
    """
    vocals, accompaniment = (np.abs(stem).astype(np.float32, copy=False) for stem in (vocals, accompaniment))
    louder = np.maximum(vocals, accompaniment)
    louder[louder == 0] = 1
    # Divide by the louder one first: a power of a faint bin could underflow.
    vocals, accompaniment = (vocals / louder) ** np.float32(power), (accompaniment / louder) ** np.float32(power)
    total = vocals + accompaniment
    return np.divide(vocals, total, out=np.zeros_like(total), where=total > 0)
