"""log-WMSE: the logarithm of the error's power as the ear weights it, relative to the mixture's.

It is defined where a source is silent: an estimate that should be silent, and is not, costs as much as the same error
elsewhere.  Landschoot and Jordal, the packages torch-log-wmse and log-wmse-audio-quality (2024); the filter is that of
torch-log-wmse, which is read from its file, because the package imports torch.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy import fft

from svs.audio.convert import resample
from svs.errors import UnavailableError

_RATE = 44100  # Hz, of the filter
_TAPS = 4000
_SCALE = -4.0  # brings the values into the range of SDRs
_EPSILON = 1e-8  # of power: the highest value is 73.68


def log_wmse(mixture: np.ndarray, references: np.ndarray, estimates: np.ndarray, rate: int) -> np.ndarray:
    """log-WMSE of every source, higher is better; the mean over channels, as `torch_log_wmse.LogWMSE(p=0)` has it.

    Parameters
    ----------
    mixture : float (samples, channels)
    references, estimates : float (sources, samples, channels)
    rate : int
        Hz; audio of another rate than 44,100 is resampled.

    Returns
    -------
    float64 (sources,)
        At most 73.68; no unit.

    Raises
    ------
    UnavailableError
        torch-log-wmse is not installed.
    """
    audio = np.stack([mixture, *(estimates - references)]).astype(np.float32)
    if rate != _RATE:
        audio = np.stack([resample(signal, rate, _RATE) for signal in audio])
    size = fft.next_fast_len(audio.shape[1] + _TAPS - 1, real=True)
    weights = np.square(np.abs(fft.rfft(_filter(), size)))
    weights[1 : (size + 1) // 2] *= 2.0  # bins that stand for their negative frequencies too
    power = np.array(
        [[weights @ np.square(np.abs(fft.rfft(channel, size))) for channel in signal.T] for signal in audio]
    ) / (size * audio.shape[1])
    relative = power[1:] / np.maximum(power[0], _EPSILON**2)
    return (_SCALE * np.log(relative + _EPSILON)).mean(axis=1)


@cache
def _filter() -> np.ndarray:
    """The impulse response: float64 (taps,)."""
    found = find_spec("torch_log_wmse")
    if found is None or found.origin is None:
        raise UnavailableError("the ruler log_WMSE needs torch-log-wmse: pip install 'svs[pipeline]'")
    taps = np.fromfile(Path(found.origin).with_name("filter_ir.f32"), dtype="<f4")
    if len(taps) != _TAPS:
        raise UnavailableError(f"the filter of torch-log-wmse has {len(taps)} taps, expected {_TAPS}; install 1.1")
    return taps.astype(np.float64)
