"""Where somebody sings: labels from the energy of the vocal stem."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

from svs.audio.sources import Source
from svs.config.schema import VADExcerpts
from svs.dsp.stft import frames

SINGING, SILENT, UNSURE = 1, 0, -1
_BLOCK = 4096  # frames


def levels(vocals: Source, settings: VADExcerpts) -> np.ndarray:
    """Level of the vocals around every frame, in dBFS.

    Parameters
    ----------
    vocals : Source
        The vocal stem at its own rate (any number of channels).

    Returns
    -------
    float32 (frames,)
        RMS over `level_window` seconds centred on each frame of the STFT that
        `settings` describe; -inf where the stem is digitally silent.
    """
    hop = settings.hop_length * vocals.rate / settings.sample_rate
    half = settings.level_window * vocals.rate / 2
    total = frames(round(vocals.samples * settings.sample_rate / vocals.rate), settings)
    level = np.empty(total, dtype=np.float32)
    for first in range(0, total, _BLOCK):
        centres = np.arange(first, min(first + _BLOCK, total)) * hop
        start = max(0, int(centres[0] - half))
        stop = min(vocals.samples, int(np.ceil(centres[-1] + half)))
        squares = np.square(vocals.read(start, stop), dtype=np.float64)
        energy = np.concatenate([[0.0], np.cumsum(squares.mean(axis=1))])
        left = np.clip(np.round(centres - half).astype(int), start, stop) - start
        right = np.clip(np.round(centres + half).astype(int), start, stop) - start
        mean = (energy[right] - energy[left]) / np.maximum(right - left, 1)
        with np.errstate(divide="ignore"):
            # The running sum leaves rounding noise of 1e-16 in silence.
            level[first : first + len(centres)] = 10 * np.log10(np.where(mean > 1e-14, mean, 0))
    return level


def labels(level: np.ndarray, settings: VADExcerpts) -> np.ndarray:
    """Label of every frame: 1 (singing), 0 (not), -1 (within `margin` dB of the threshold).

    A frame is active above max(`level_floor`, loud - `level_range`), where loud
    is the `level_percentile` of the track's levels.  A median filter over
    `smoothing` seconds smooths the decision.
    """
    if not np.isfinite(level).any():
        return np.zeros(len(level), dtype=np.int8)
    loud = np.percentile(np.maximum(level, -200.0), settings.level_percentile)  # -inf would give NaN
    threshold = max(settings.level_floor, loud - settings.level_range)
    active = (level > threshold).astype(np.int8)
    length = int(settings.smoothing * settings.sample_rate / settings.hop_length) // 2 * 2 + 1
    active = median_filter(active, size=length, mode="nearest")
    return np.where(np.abs(level - threshold) < settings.margin, UNSURE, active).astype(np.int8)
