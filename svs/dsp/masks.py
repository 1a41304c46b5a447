"""Time-frequency masks.

A mask is a real array in [0, 1] with the shape of a spectrogram: the share of
the vocals in each bin.  The accompaniment has the complement.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.ndimage import median_filter


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


def ratio_mask(vocals: np.ndarray, accompaniment: np.ndarray, power: float = 1.0, *, silent: float = 0.0) -> np.ndarray:
    """The vocals' share of the sum of both, |V|^p / (|V|^p + |A|^p): of the true stems, the ideal ratio mask.

    Parameters
    ----------
    vocals, accompaniment : complex or real, same shape
        Spectrograms (or magnitudes).
    power : float
        1: ratio of magnitudes (SiSEC18's IRM1).  2: ratio of energies (IRM2).
    silent : float
        The mask where both are silent.

    Returns
    -------
    float32, same shape
    """
    vocals, accompaniment = (np.abs(stem).astype(np.float32, copy=False) for stem in (vocals, accompaniment))
    louder = np.maximum(vocals, accompaniment)
    louder[louder == 0] = 1
    # Divide by the louder one first: a power of a faint bin could underflow.
    vocals, accompaniment = (vocals / louder) ** np.float32(power), (accompaniment / louder) ** np.float32(power)
    total = vocals + accompaniment
    return np.divide(vocals, total, out=np.full_like(total, silent), where=total > 0)


def median_mask(
    spectrum: np.ndarray, part: Literal["harmonic", "percussive"], frames: int, bins: int, power: float, margin: float
) -> np.ndarray:
    """The mask of the steady or the short sounds, by median filters along time and frequency (FitzGerald 2010).

    Parameters
    ----------
    spectrum : float32 (bins, frames)
        Magnitudes.
    part : {"harmonic", "percussive"}
    frames, bins : int
        Sizes of the filters along time and along frequency.
    power : float
        As of `ratio_mask`.
    margin : float
        Factor on the other part's magnitudes.

    Returns
    -------
    float32 (bins, frames)

    Notes
    -----
    Equal to that of `librosa.decompose.hpss`, in a tenth of the time: scipy filters one long row much faster than many
    short ones.
    """
    steady, short = median_rows(spectrum, frames), median_rows(spectrum.T, bins).T
    kept, other = (steady, short) if part == "harmonic" else (short, steady)
    return ratio_mask(kept, other * np.float32(margin), power, silent=0.5 if margin == 1 else 0.0)


def median_rows(values: np.ndarray, size: int) -> np.ndarray:
    """Median filter along rows, mirrored at their ends: `scipy.ndimage.median_filter(values, (1, size))`."""
    before = size // 2
    rows = np.pad(values, ((0, 0), (before, before)), mode="symmetric")
    filtered = median_filter(rows.ravel(), size=size, mode="constant")
    return filtered.reshape(rows.shape)[:, before : before + values.shape[1]]
