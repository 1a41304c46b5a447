"""Time-frequency masks.

A mask is a real array in [0, 1] of a spectrogram's shape: the share of each
bin that is vocals.  The accompaniment has the complement.
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
    Lin et al. 2018, section 2.1: |V| > |A|.  Where both are silent the mask is 0.
    """
    return np.abs(vocals) > np.abs(accompaniment)


def gated(mask: np.ndarray, gate: float, *, hard: bool = False) -> np.ndarray:
    """Values up to `gate` set to 0; the rest kept (soft) or set to 1 (hard)."""
    kept = mask > gate
    return kept.astype(mask.dtype) if hard else np.where(kept, mask, mask.dtype.type(0))
