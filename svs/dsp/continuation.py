"""What audio may sound like beyond its end, for networks that would hear silence there.

Linear prediction continues each partial in its phase (Kauppinen & Roth, "Audio signal extrapolation - theory and
applications", DAFx 2002).  A mirrored partial has a random phase, and beside its original it cancels or doubles what
a frame across the end holds.  A prediction fades after some frames, so the mirrored audio takes over.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter, lfiltic

_HEARD = 0.186  # s that the prediction is made from
_ORDER = 0.023  # s, of the linear prediction
_PREDICTED = 0.093  # s over which the mirrored audio takes over
_NOISE = 1e-9  # relative to the power, added as white noise so that the equations have one solution


def reach(samples: int, rate: int) -> int:
    """Last samples of the audio on which its continuation by `samples` depends."""
    return max(samples, round(_HEARD * rate))


def continuation(audio: np.ndarray, samples: int, rate: int) -> np.ndarray:
    """Audio that may follow `audio`: the prediction, cross-faded with the mirror image.

    Parameters
    ----------
    audio : float32 (n, channels)
        At least one sample.
    samples : int
    rate : int
        Hz.

    Returns
    -------
    float32 (samples, channels)
    """
    mirrored = np.pad(audio, ((0, samples), (0, 0)), mode="symmetric")[len(audio) :]
    length = min(round(_PREDICTED * rate), samples)
    share = np.cos(np.linspace(0, np.pi / 2, length, endpoint=False))[:, None] ** 2
    heard, order = audio[-round(_HEARD * rate) :], min(round(_ORDER * rate), len(audio) // 4)
    predicted = np.stack([_predicted(channel, order, length) for channel in heard.T], axis=1)
    mirrored[:length] = share * predicted + (1 - share) * mirrored[:length]
    return mirrored


def _predicted(heard: np.ndarray, order: int, samples: int) -> np.ndarray:
    """Linear prediction (autocorrelation method) of the `samples` after audio (n,)."""
    spectrum = np.fft.rfft(heard * np.hanning(len(heard)), 2 * len(heard))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: order + 1]
    if not order or correlation[0] <= 0:
        return np.zeros(samples)
    correlation[0] *= 1 + _NOISE
    inverse = np.append(1.0, -solve_toeplitz(correlation[:-1], correlation[1:]))
    # Clipped: of a loud beginning and a quiet end the prediction may grow.
    most = np.abs(heard).max()
    past = lfiltic([1.0], inverse, heard[::-1][:order].astype(np.float64))
    return np.clip(lfilter([1.0], inverse, np.zeros(samples), zi=past)[0], -most, most)
