"""Recordings of any number of channels through a method that takes two."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def in_pairs(function: Callable[[np.ndarray], np.ndarray], mixture: np.ndarray) -> np.ndarray:
    """Apply a function of stereo audio to pairs of channels.

    Of an odd number of channels the last is doubled, and the mean of its two
    estimates taken.

    Parameters
    ----------
    function : callable
        From float32 (samples, 2) to float32 (samples, 2).
    mixture : float32 (samples, channels)

    Returns
    -------
    float32 (samples, channels)
    """
    estimates = []
    for first in range(0, mixture.shape[1], 2):
        pair = mixture[:, first:first + 2]
        if pair.shape[1] == 2:
            estimates.append(function(pair))
        else:
            estimates.append(function(np.repeat(pair, 2, axis=1)).mean(axis=1, keepdims=True, dtype=np.float32))
    return np.concatenate(estimates, axis=1)
